"""The header of a GGUF file to be: the keys are serialized once, and serve for the files of all levels.

gguf's own writer serializes them; what differs between levels (each tensor's type, the file type, an importance
matrix's keys) is put together here. Source of the layout: docs/gguf.md of ggml.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import gguf
from gguf.gguf_writer import WriterState

from quant.ggml_types import TYPE_BY_NAME

_VERSION = int(gguf.GGUF_VERSION)
_ALIGNMENT = int(gguf.GGUF_DEFAULT_ALIGNMENT)
_UINT32, _STRING, _UINT64 = 4, 8, 10  # enum gguf_type
_FILE_TYPE = "general.file_type"
_COUNTS_BYTES = 24  # magic, version, number of tensors, number of keys


class Entry(NamedTuple):
    """One tensor's line in a header."""

    name: str
    dims: tuple[int, ...]  # the row length first
    type: str  # as ggml names it


class Keys(NamedTuple):
    """All keys of a file, as the file will have them."""

    data: bytes
    n_keys: int


def serialize_keys(writer: gguf.GGUFWriter) -> Keys:
    """Take the keys that were added to gguf's writer, without a file."""
    buffer = io.BytesIO()
    writer.fout = [buffer]
    writer.state = WriterState.HEADER
    writer.write_kv_data_to_file()
    data, count = buffer.getvalue(), len(writer.kv_data[0])
    writer.fout = None
    return Keys(data, count)


def compose_header(
    keys: Keys, tensors: Sequence[Entry], *, file_type: int, more: Mapping[str, str | int] | None = None
) -> bytes:
    """Give everything up to the first tensor's data, the gap before it included.

    Args:
        file_type: replaces the one among the keys; appended where there is none.
        more: keys of their own for this file, whole numbers as uint64.
    """
    data, count = _with_file_type(keys, file_type)
    parts = [data]
    for key, value in (more or {}).items():
        parts.append(_text(key) + _value(value))
        count += 1
    offset = 0
    for name, dims, kind in tensors:
        ggml_type = TYPE_BY_NAME[kind]
        parts.append(_text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, ggml_type.number, offset))
        offset += padded(ggml_type.nbytes(dims))
    body = b"".join(parts)
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), count)
    return head + body + b"\0" * (padded(len(head) + len(body)) - len(head) - len(body))


def _with_file_type(keys: Keys, file_type: int) -> tuple[bytes, int]:
    head = _text(_FILE_TYPE) + struct.pack("<I", _UINT32)
    place = keys.data.find(head)
    value = struct.pack("<I", file_type)
    if place < 0:
        return keys.data + head + value, keys.n_keys + 1
    place += len(head)
    return keys.data[:place] + value + keys.data[place + len(value) :], keys.n_keys


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | int) -> bytes:
    if isinstance(value, int):
        return struct.pack("<IQ", _UINT64, value)
    return struct.pack("<I", _STRING) + _text(value)


def padded(n_bytes: int) -> int:
    """Round up to where the next tensor starts."""
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def n_padding(place: int) -> int:
    """Give the bytes from a place to where the next tensor starts."""
    return padded(place) - place
