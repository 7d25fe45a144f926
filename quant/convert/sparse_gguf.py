"""A sparse GGUF file: a header, and weights that occupy no disk space.

Enough for llama.cpp's dry run, and to open a model without its weights.
"""

from collections.abc import Mapping
from pathlib import Path

import gguf

from quant.convert.layout import Layout
from quant.gguf_io.writer import Keys, compose_header

FILE_TYPES = {  # enum llama_ftype
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
}


def write_sparse(layout: Layout, path: Path) -> None:
    """Write the lossless conversion without its vocabulary, with sparse weights."""
    kind = layout.lossless_type
    write_sparse_at(layout, path, layout.keys_without_vocabulary, layout.types_at(kind), FILE_TYPES[kind])


def write_sparse_at(layout: Layout, path: Path, keys: Keys, types: Mapping[str, str], file_type: int) -> None:
    """Write a header with these keys and tensor types, and sparse weights.

    Args:
        types: GGUF's name -> ggml type, of all jobs.
    """
    header = compose_header(keys, layout.entries(types), file_type=file_type)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + layout.data_bytes(types))
