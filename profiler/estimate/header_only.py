"""Stand-ins for real files: a GGUF header without weights or vocabulary, and an importance matrix of ones."""

from pathlib import Path

import gguf
import numpy as np

from quant.convert.families.base import need
from quant.convert.layout import Layout
from quant.convert.sparse_gguf import file_type, write_sparse_at
from quant.gguf_io.header import GgufHeader
from quant.gguf_io.imatrix_writer import InputSums, write_imatrix
from quant.gguf_io.writer import Keys, serialize_keys

_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")


def write_header_only(layout: Layout, path: Path) -> None:
    """Write the header of the lossless conversion, with only the size of the vocabulary, and a hole for the weights.

    llama.cpp opens a file whose tokenizer is "none" with `vocab_size` tokens.
    Source: llama_vocab::impl::load in src/llama-vocab.cpp of the pinned llama.cpp.

    Raises:
        UserError: a key cannot be written.
    """
    keys, kind = layout.keys_without_vocabulary, layout.lossless_type
    writer = gguf.GGUFWriter(None, layout.family.arch)
    writer.kv_data[0].clear()  # the architecture is among the keys already
    if f"{layout.family.arch}.vocab_size".encode() not in keys.data:
        writer.add_vocab_size(need(layout.checkpoint.config, "vocab_size"))
    writer.add_tokenizer_model("none")
    added = serialize_keys(writer)
    whole = Keys(keys.data + added.data, keys.n_keys + added.n_keys)
    write_sparse_at(layout, path, whole, layout.types_at(kind), file_type(layout, kind))


def write_uniform_imatrix(header: GgufHeader, path: Path) -> None:
    """Write an importance matrix with an entry of ones for every matrix of a model.

    A dry run checks only which tensors have an entry, so the mix of types is that of any complete importance matrix.
    """
    sums = {}
    for tensor in header.tensors:
        if len(tensor.dims) > 1 and tensor.name.endswith(".weight") and tensor.name not in _EMBEDDINGS:
            n_experts = tensor.dims[2] if len(tensor.dims) > 2 else 1
            sums[tensor.name] = InputSums(np.ones((n_experts, tensor.dims[0])), np.ones(n_experts, np.int64))
    write_imatrix(path, sums, dataset="synthetic", n_chunks=1, n_tokens_per_chunk=512)
