"""Compose the header of a GGUF file: the keys are serialized once for the files of all levels.

gguf's own writer serializes them; what differs between levels (tensor types, the file type, an importance matrix's
keys) is added here. Source of the layout: docs/gguf.md of ggml.
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import gguf

from quant.gguf_io.types import TYPE_BY_NAME

_VERSION = int(gguf.GGUF_VERSION)
_ALIGNMENT = int(gguf.GGUF_DEFAULT_ALIGNMENT)
_UINT32, _STRING, _ARRAY, _UINT64 = 4, 8, 9, 10  # enum gguf_type
_FORMATS = {  # of Python's struct
    gguf.GGUFValueType.UINT8: "B",
    gguf.GGUFValueType.INT8: "b",
    gguf.GGUFValueType.UINT16: "H",
    gguf.GGUFValueType.INT16: "h",
    gguf.GGUFValueType.UINT32: "I",
    gguf.GGUFValueType.INT32: "i",
    gguf.GGUFValueType.FLOAT32: "f",
    gguf.GGUFValueType.BOOL: "?",
    gguf.GGUFValueType.UINT64: "Q",
    gguf.GGUFValueType.INT64: "q",
    gguf.GGUFValueType.FLOAT64: "d",
}
_FILE_TYPE = "general.file_type"

VOCABULARY_BYTES = 64 << 20  # allowance for the vocabulary; the largest take some 20 MiB


class Entry(NamedTuple):
    """One tensor's entry in a header."""

    name: str
    dims: tuple[int, ...]  # the row length first
    type: str  # ggml's name


class Keys(NamedTuple):
    """All keys of a file, serialized."""

    data: bytes
    n_keys: int


def serialize_keys(writer: gguf.GGUFWriter) -> Keys:
    """Serialize the keys in gguf's writer, without a file.

    Lists are packed here, since gguf's writer takes a second for a vocabulary's half a million strings.
    """
    parts = []
    for key, entry in writer.kv_data[0].items():
        kind = gguf.GGUFValueType.get_type(entry.value) if entry.type is None else entry.type
        if kind == gguf.GGUFValueType.ARRAY and (entry.value or entry.sub_type is not None):
            value = struct.pack("<I", _ARRAY) + _array(entry.value, entry.sub_type)
        else:
            value = writer._pack_val(entry.value, entry.type, add_vtype=True, sub_type=entry.sub_type)
        parts.append(_text(key) + value)
    return Keys(b"".join(parts), len(parts))


def _array(items: Sequence[Any], kind: gguf.GGUFValueType | None) -> bytes:
    """Pack a list: the items' type, their number, the items."""
    if isinstance(items, bytes):
        kind = gguf.GGUFValueType.UINT8
    elif kind is None:
        kind = gguf.GGUFValueType.get_type(items[0])
    head = struct.pack("<IQ", kind, len(items))
    if kind == gguf.GGUFValueType.STRING:
        texts = [item.encode() if isinstance(item, str) else bytes(item) for item in items]
        sizes = list(map(len, texts))
        heads = {size: struct.pack("<Q", size) for size in set(sizes)}  # few sizes of very many texts
        return head + b"".join(chain.from_iterable(zip(map(heads.__getitem__, sizes), texts, strict=True)))
    return head + struct.pack(f"<{len(items)}{_FORMATS[kind]}", *items)


def compose_header(
    keys: Keys,
    tensors: Sequence[Entry],
    *,
    file_type: int,
    append_file_type: bool = True,
    more: Mapping[str, str | int] | None = None,
) -> bytes:
    """Return everything up to the first tensor's data, including the padding before it.

    Args:
        file_type: replaces the one among the keys.
        append_file_type: whether to add it if the keys have none.
        more: keys of this file only; integers as uint64.
    """
    data, count = with_keys(_with_file_type(keys, file_type, append_file_type), more or {})
    parts = [data]
    offset = 0
    for name, dims, kind in tensors:
        ggml_type = TYPE_BY_NAME[kind]
        parts.append(_text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, ggml_type.number, offset))
        offset += padded(ggml_type.nbytes(dims))
    body = b"".join(parts)
    head = b"GGUF" + struct.pack("<IQQ", _VERSION, len(tensors), count)
    return head + body + b"\0" * (padded(len(head) + len(body)) - len(head) - len(body))


def with_keys(keys: Keys, more: Mapping[str, str | int]) -> Keys:
    """Append keys; integers as uint64."""
    return Keys(
        keys.data + b"".join(_text(key) + _value(value) for key, value in more.items()), keys.n_keys + len(more)
    )


def _with_file_type(keys: Keys, file_type: int, append: bool) -> Keys:
    head = _text(_FILE_TYPE) + struct.pack("<I", _UINT32)
    place = keys.data.find(head)
    value = struct.pack("<I", file_type)
    if place < 0:
        return Keys(keys.data + head + value, keys.n_keys + 1) if append else keys
    place += len(head)
    return Keys(keys.data[:place] + value + keys.data[place + len(value) :], keys.n_keys)


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(value: str | int) -> bytes:
    if isinstance(value, int):
        return struct.pack("<IQ", _UINT64, value)
    return struct.pack("<I", _STRING) + _text(value)


def padded(n_bytes: int) -> int:
    """Round up to the start of the next tensor."""
    return -(-n_bytes // _ALIGNMENT) * _ALIGNMENT


def n_padding(offset: int) -> int:
    """Return the number of bytes from an offset to the start of the next tensor."""
    return padded(offset) - offset
