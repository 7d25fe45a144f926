"""A GGUF file that is all header: its weights are a hole, which takes no room on the disk.

llama.cpp's dry run and a model opened without its weights need no more.
"""

from collections.abc import Mapping
from pathlib import Path

from quant.convert.layout import Layout
from quant.convert.to_gguf import FILE_TYPES
from quant.gguf_io.writer import Keys, compose_header


def write_hole(layout: Layout, path: Path) -> None:
    """Write the header of the lossless conversion without its vocabulary, and a hole of the size of its weights."""
    kind = layout.lossless_type
    write_hole_at(layout, path, layout.keys_without_vocabulary, layout.types_at(kind), FILE_TYPES[kind])


def write_hole_at(layout: Layout, path: Path, keys: Keys, types: Mapping[str, str], file_type: int) -> None:
    """Write a header with these keys and a type for each tensor, and a hole of the size of its weights.

    Args:
        types: GGUF's name -> ggml type, of all jobs.
    """
    header = compose_header(keys, layout.entries(types), file_type=file_type)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + layout.data_bytes(types))
