"""The importance matrices of before 2025 (imatrix.dat): binary, without a magic, and still shared beside many models.

Source of the layout: common_imatrix_load_legacy in common/imatrix-loader.cpp of the pinned llama.cpp.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from quant.base.text import printable

_INT = struct.Struct("<i")
_MAX_ENTRIES = 1 << 16
_MAX_NAME_BYTES = 256
_MAX_TEXT_BYTES = 4096


@dataclass(frozen=True)
class LegacyEntry:
    """One tensor's sums: each is the mean square times the number of calls."""

    n_values: int
    offset: int  # bytes from the start of the file
    n_calls: int


@dataclass(frozen=True)
class LegacyFile:
    """What the file holds, without the values."""

    entries: dict[str, LegacyEntry]
    n_chunks: int
    dataset: str | None


def read_legacy(path: Path) -> LegacyFile | None:
    """Read the names, sizes and offsets; None where it is no such file, or is cut off.

    Raises:
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            return _read(file, size)
        except (struct.error, UnicodeDecodeError):
            return None


def _read(file: BinaryIO, size: int) -> LegacyFile | None:
    n_entries = _int(file)
    if not 0 < n_entries <= _MAX_ENTRIES:
        return None
    entries: dict[str, LegacyEntry] = {}
    for _ in range(n_entries):
        name = _text(file, _MAX_NAME_BYTES)
        n_calls, n_values = _int(file), _int(file)
        offset = file.tell()
        if not name or not name.isprintable() or n_values < 1 or n_calls < 0 or offset + 4 * n_values > size:
            return None
        file.seek(4 * n_values, 1)
        entries[name] = LegacyEntry(n_values, offset, n_calls)
    # The number of chunks and the text's name came later.
    if file.tell() + _INT.size > size:
        return LegacyFile(entries, 0, None)
    n_chunks = max(0, _int(file))
    dataset = _text(file, _MAX_TEXT_BYTES) if file.tell() + _INT.size <= size else None
    return LegacyFile(entries, n_chunks, printable(dataset) if dataset else None)


def _int(file: BinaryIO) -> int:
    value: int = _INT.unpack(file.read(_INT.size))[0]
    return value


def _text(file: BinaryIO, most_bytes: int) -> str | None:
    """Read a length and that many bytes of text; None where it is longer than any."""
    n_bytes = _int(file)
    if not 0 <= n_bytes <= most_bytes:
        return None
    content = file.read(n_bytes)
    return content.decode() if len(content) == n_bytes else None
