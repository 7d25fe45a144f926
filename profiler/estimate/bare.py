"""Files that are all header, complete enough for llama.cpp to open them without weights and without a vocabulary."""

from pathlib import Path

import gguf
import numpy as np

from quant.convert.families.base import need
from quant.convert.layout import Layout
from quant.convert.sparse_gguf import write_hole_at
from quant.convert.to_gguf import FILE_TYPES
from quant.gguf_io.header import GgufHeader
from quant.gguf_io.writer import Keys, serialize_keys

_EMBEDDINGS = ("token_embd.weight", "per_layer_token_embd.weight", "position_embd.weight", "token_types.weight")


def write_bare(layout: Layout, path: Path) -> None:
    """Write the header of the lossless conversion with the size of the vocabulary for a vocabulary, and a hole.

    A file whose tokenizer is "none" is opened with as many tokens as `vocab_size` says.
    Source: llama_vocab::impl::load in src/llama-vocab.cpp of the pinned llama.cpp.

    Raises:
        UserError: a key cannot be written.
    """
    keys, kind = layout.keys_without_vocabulary, layout.lossless_type
    writer = gguf.GGUFWriter(None, layout.family.arch)
    writer.kv_data[0].clear()  # the architecture stands among the keys already
    if f"{layout.family.arch}.vocab_size".encode() not in keys.data:
        writer.add_vocab_size(need(layout.checkpoint.config, "vocab_size"))
    writer.add_tokenizer_model("none")
    more = serialize_keys(writer)
    whole = Keys(keys.data + more.data, keys.n_keys + more.n_keys)
    write_hole_at(layout, path, whole, layout.types_at(kind), FILE_TYPES[kind])


def write_made_up_imatrix(header: GgufHeader, path: Path) -> None:
    """Write an importance matrix for every matrix of a model in which all columns matter alike.

    A dry run asks only which tensors have an entry, so the mix of types is that of any whole importance matrix.
    """
    writer = gguf.GGUFWriter(path, "imatrix")
    writer.add_type("imatrix")
    writer.add_array("imatrix.datasets", ["made up"])
    writer.add_uint32("imatrix.chunk_count", 1)
    writer.add_uint32("imatrix.chunk_size", 512)
    for tensor in header.tensors:
        if len(tensor.dims) > 1 and tensor.name.endswith(".weight") and tensor.name not in _EMBEDDINGS:
            n_experts = tensor.dims[2] if len(tensor.dims) > 2 else 1
            ones = np.ones((n_experts, tensor.dims[0]), dtype=np.float32)
            writer.add_tensor(f"{tensor.name}.in_sum2", ones)
            writer.add_tensor(f"{tensor.name}.counts", np.ones((n_experts, 1), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
