"""A stand-in for a real file: a GGUF header without weights or vocabulary."""

from pathlib import Path

import gguf

from quant.convert.families.base import need
from quant.convert.layout import Layout
from quant.convert.sparse_gguf import file_type, write_sparse_at
from quant.gguf_io.writer import Keys, serialize_keys


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
