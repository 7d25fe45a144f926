"""A sparse GGUF file: a header, and weights that occupy no disk space.

Enough for llama.cpp's dry run, and to open a model without its weights.
"""

from collections.abc import Mapping
from pathlib import Path

import gguf

from quant.convert.layout import Layout
from quant.gguf_io.writer import Keys, compose_header

_FILE_TYPES = {  # enum llama_ftype
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "BF16": gguf.LlamaFileType.MOSTLY_BF16,
}
_KEPT_FILE_TYPES = {
    "mxfp4": gguf.LlamaFileType.MOSTLY_MXFP4_MOE,
    "nvfp4": gguf.LlamaFileType.MOSTLY_NVFP4,
}


def file_type(layout: Layout, matrix_type: str) -> int:
    """Return the file's type: that of the matrices which are kept as they are stored, else that of all."""
    kept = next((job.kept for job in layout.jobs if job.kept), None)
    return int(_FILE_TYPES[matrix_type] if kept is None else _KEPT_FILE_TYPES[kept])


def write_sparse(layout: Layout, path: Path) -> None:
    """Write the lossless conversion without its vocabulary, with sparse weights."""
    kind = layout.lossless_type
    write_sparse_at(layout, path, layout.keys_without_vocabulary, layout.types_at(kind), file_type(layout, kind))


def write_sparse_at(layout: Layout, path: Path, keys: Keys, types: Mapping[str, str], number: int) -> None:
    """Write a header with these keys and tensor types, and sparse weights.

    Args:
        types: GGUF's name -> ggml type, of all jobs.
        number: of the file's type.
    """
    header = compose_header(keys, layout.entries(types), file_type=number)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + layout.data_bytes(types))
