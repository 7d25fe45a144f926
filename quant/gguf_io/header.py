"""The header of a GGUF file: its metadata and its tensors' offsets, read without trusting a number in it.

Every count, length and offset is checked against the file's size before anything of that size is allocated, so an
untrusted file costs at most a bounded read. The data of the tensors is never read.
Source of the layout: docs/gguf.md of ggml and ggml/src/gguf.cpp of the pinned llama.cpp, whose checks these follow.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeGuard

from quant.base.errors import UserError
from quant.base.files import POINTER_BYTES, refuse_pointer
from quant.base.ints import MOST
from quant.gguf_io.shards import not_first, shard_paths
from quant.gguf_io.types import TYPE_BY_NUMBER, GgmlType

MAGIC = b"GGUF"
MAX_HEADER_BYTES = 64 << 20  # the largest vocabularies in use take about 20 MiB
MAX_ENTRIES = 1 << 16  # of metadata, and of tensors
MAX_KEY_BYTES = 65535  # docs/gguf.md
MAX_TEXT_BYTES = 16 << 20  # one kept string; the longest in use, chat templates, stay under 1 MiB
MAX_STRINGS = 1 << 22  # in one list; the longest in use, merges, have about 2**19
MAX_KEPT_ITEMS = 4096  # arrays per layer are far shorter, arrays per token far longer
MAX_NAME_BYTES = 63  # GGML_MAX_NAME with its zero
MAX_DIMS = 4  # GGML_MAX_DIMS
_CHUNK_BYTES = 1 << 20

STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}

Scalar = int | float | bool | str


@dataclass(frozen=True)
class LongArray:
    """An array too long to keep, such as a vocabulary: how long it is, and where it stands in the first file."""

    n_items: int
    kind: int  # of its items, as GGUF numbers types
    offset: int
    n_bytes: int


Value = Scalar | tuple[Scalar, ...] | LongArray


@dataclass(frozen=True)
class TensorInfo:
    """One tensor as the header describes it. `dims` has the row length first, as GGUF stores it."""

    name: str
    type: GgmlType
    dims: tuple[int, ...]
    offset: int  # from the start of its file
    nbytes: int
    file: int = 0  # the shard that holds it

    @property
    def n_weights(self) -> int:
        """How many values the tensor has."""
        n_weights = 1
        for dim in self.dims:
            n_weights *= dim
        return n_weights


@dataclass(frozen=True)
class GgufHeader:
    """The header of a file, or of all its shards."""

    paths: tuple[Path, ...]
    version: int
    metadata: dict[str, Value]
    tensors: tuple[TensorInfo, ...]
    header_bytes: int  # up to where the tensors start, all shards
    file_bytes: int  # all shards

    def text(self, key: str) -> str | None:
        """Return a string of the metadata; None if it is missing or of another type."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else None

    def whole(self, key: str) -> int | None:
        """Return a whole number of the metadata, 0 or above; None if it is missing, of another type or over 63 bits."""
        value = self.metadata.get(key)
        return value if _is_whole(value) else None

    def wholes(self, key: str, count: int) -> tuple[int, ...] | None:
        """Return `count` whole numbers, 0 or above: an array of that length, or one number for all; else None."""
        value = self.metadata.get(key)
        items = value if isinstance(value, tuple) else (value,) * count
        numbers = tuple(item for item in items if _is_whole(item))
        return numbers if len(numbers) == len(items) == count else None

    def length(self, key: str) -> int | None:
        """Return the length of an array; None if it is missing or of another type."""
        value = self.metadata.get(key)
        if isinstance(value, LongArray):
            return value.n_items
        return len(value) if isinstance(value, tuple) else None


def _is_whole(value: object) -> TypeGuard[int]:
    # GGUF has numbers of 64 bits without a sign; a record holds none above the largest with one.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


class _MalformedError(Exception):
    """What is wrong, as the end of "FILE is not a usable GGUF file: "."""


class _ShortError(_MalformedError):
    """The file ends within its header or tensors."""


class _Cursor:
    """Read forwards through the first `size` bytes of a file, a chunk at a time."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._chunk = b""
        self._at = 0  # in the chunk
        self._start = 0  # of the chunk in the file

    @property
    def position(self) -> int:
        return self._start + self._at

    @property
    def left(self) -> int:
        return self._size - self.position

    def take(self, n_bytes: int) -> bytes:
        end = self._at + n_bytes
        if end > len(self._chunk):
            self._refill(n_bytes)
            end = n_bytes
        taken = self._chunk[self._at : end]
        self._at = end
        return taken

    def _refill(self, n_bytes: int) -> None:
        if n_bytes > self.left:
            raise _ShortError("it ends in the middle of its header")
        if self.position > MAX_HEADER_BYTES:
            raise _MalformedError("its header is larger than any model's")
        self._start, self._at = self.position, 0
        self._file.seek(self._start)
        self._chunk = self._file.read(max(_CHUNK_BYTES, n_bytes))
        if len(self._chunk) < n_bytes:
            raise _ShortError("it ends in the middle of its header")

    def skip(self, n_bytes: int) -> None:
        if n_bytes > self.left:
            raise _ShortError("it ends in the middle of its header")
        if self._at + n_bytes <= len(self._chunk):
            self._at += n_bytes
        else:
            self._start, self._at, self._chunk = self.position + n_bytes, 0, b""
            if self._start > MAX_HEADER_BYTES:
                raise _MalformedError("its header is larger than any model's")

    def skip_texts(self, n_texts: int) -> None:
        """Skip strings, each after its length; without a call for each: a vocabulary has some 300,000."""
        length_at = _LENGTH.unpack_from
        while n_texts:
            chunk, at = self._chunk, self._at
            last = len(chunk) - 8  # the last offset with a whole length in the chunk
            if at > last:
                self.skip(self.u64())  # which reads on
                n_texts -= 1
                continue
            while n_texts and at <= last:
                at += 8 + length_at(chunk, at)[0]
                n_texts -= 1
            self.skip(at - self._at)

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def u64(self) -> int:
        return int.from_bytes(self.take(8), "little")

    def text(self, limit: int, what: str) -> str:
        n_bytes = self.u64()
        if n_bytes > min(limit, self.left):
            raise (
                _MalformedError(f"{what} claims {n_bytes} bytes")
                if n_bytes > limit
                else _ShortError(f"{what} is cut off")
            )
        return self.take(n_bytes).decode("utf-8", errors="replace")


def open_gguf_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, and of its other shards if its name is a shard's.

    Raises:
        UserError: the file does not exist, is not GGUF, is truncated, or contradicts itself.
    """
    paths = shard_paths(path)
    parts = [_read_one(shard, number) for number, shard in enumerate(paths)]
    metadata = parts[0].metadata
    names: set[str] = set()
    for shard, part in zip(paths, parts, strict=True):
        if len(paths) > 1 and part.whole("split.count") != len(paths):
            raise UserError(
                f"{shard} is not one of {len(paths)} shards according to its header; download the shards again"
            )
        for tensor in part.tensors:
            if tensor.name in names:
                raise _refusal(shard, f"tensor {tensor.name} is there twice")
            names.add(tensor.name)
    if len(paths) == 1 and (count := parts[0].whole("split.count") or 1) > 1:
        if parts[0].whole("split.no"):
            raise not_first(path, f"…-00001-of-{count:05d}.gguf, and keep the names of the shards")
        raise UserError(f"{path} is one of {count} shards; keep the names …-00001-of-{count:05d}.gguf of the shards")
    return GgufHeader(
        paths=paths,
        version=parts[0].version,
        metadata=metadata,
        tensors=tuple(tensor for part in parts for tensor in part.tensors),
        header_bytes=sum(part.header_bytes for part in parts),
        file_bytes=sum(part.file_bytes for part in parts),
    )


def _refusal(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is not a usable GGUF file: {reason}; download or convert it again")


def _read_one(path: Path, number: int) -> GgufHeader:
    try:
        if not path.is_file():
            raise UserError(f"{path} is {'not a file' if path.exists() else 'not there'}; pass a GGUF file")
        with path.open("rb", buffering=0) as file:
            size = path.stat().st_size
            refuse_pointer(path, file.read(POINTER_BYTES))
            file.seek(0)
            return _parse(_Cursor(file, size), path, number, size)
    except _ShortError as error:
        raise UserError(f"{path} is truncated: {error}; download or convert it again") from error
    except _MalformedError as error:
        raise _refusal(path, str(error)) from error
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error


def _parse(cursor: _Cursor, path: Path, number: int, size: int) -> GgufHeader:
    if size < len(MAGIC) or cursor.take(len(MAGIC)) != MAGIC:
        raise UserError(f"{path} is not a GGUF file; pass a GGUF file, or a checkpoint's folder to convert")
    version = cursor.u32()
    if version and version & 0xFFFF == 0:
        raise _MalformedError("it is for big-endian machines")
    if version not in (2, 3):
        raise _MalformedError(f"its version is {version}, and llama.cpp reads 2 and 3")
    n_tensors, n_entries = cursor.u64(), cursor.u64()
    if max(n_tensors, n_entries) > MAX_ENTRIES:
        raise _MalformedError(f"it claims {n_entries} metadata entries and {n_tensors} tensors")
    metadata = _metadata(cursor, n_entries)
    alignment = _alignment(metadata)
    heads = [_tensor_head(cursor) for _ in range(n_tensors)]
    data_start = _padded(cursor.position, alignment) if heads else cursor.position
    tensors, end = [], 0
    for name, kind, dims, offset in heads:
        # llama.cpp requires the same: tensors follow one another, so none overlaps another or the header.
        if offset != end:
            raise _MalformedError(f"tensor {name} starts at {offset} instead of {end}")
        nbytes = kind.nbytes(dims)
        tensors.append(TensorInfo(name, kind, dims, data_start + offset, nbytes, number))
        if data_start + offset + nbytes > size:
            raise _ShortError(f"tensor {name} ends at byte {data_start + offset + nbytes}, the file at {size}")
        end = _padded(offset + nbytes, alignment)
    return GgufHeader((path,), version, metadata, tuple(tensors), data_start, size)


def _metadata(cursor: _Cursor, n_entries: int) -> dict[str, Value]:
    metadata: dict[str, Value] = {}
    for _ in range(n_entries):
        key = cursor.text(MAX_KEY_BYTES, "a metadata key")
        if not key or key in metadata:
            raise _MalformedError(f"metadata key {key!r} is {'there twice' if key else 'empty'}")
        metadata[key] = _value(cursor, key)
    return metadata


def _alignment(metadata: dict[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 20:
        raise _MalformedError("its alignment is not a power of two")
    return alignment


def _padded(n_bytes: int, alignment: int) -> int:
    return -(-n_bytes // alignment) * alignment


def _value(cursor: _Cursor, key: str) -> Value:
    kind = cursor.u32()
    if kind == STRING:
        return cursor.text(MAX_TEXT_BYTES, f"the text of {key}")
    if kind == _ARRAY:
        return _array(cursor, key)
    if kind not in SCALARS:
        raise _MalformedError(f"{key} has the unknown type {kind}")
    return _scalar(cursor, kind)


def _scalar(cursor: _Cursor, kind: int) -> Scalar:
    layout = struct.Struct("<" + SCALARS[kind])
    value: Scalar = layout.unpack(cursor.take(layout.size))[0]
    return value


def _array(cursor: _Cursor, key: str) -> Value:
    kind, n_items = cursor.u32(), cursor.u64()
    if kind != STRING and kind not in SCALARS:
        raise _MalformedError(f"{key} is a list of the unknown type {kind}")
    item_bytes = 8 if kind == STRING else struct.calcsize("<" + SCALARS[kind])  # a string has at least its length
    if kind == STRING and n_items > MAX_STRINGS:
        raise _MalformedError(f"{key} claims {n_items} items")
    if n_items > cursor.left // item_bytes:
        raise _ShortError(f"{key} claims {n_items} items")
    if n_items <= MAX_KEPT_ITEMS:
        if kind == STRING:
            return tuple(cursor.text(MAX_TEXT_BYTES, f"the text of {key}") for _ in range(n_items))
        return tuple(_scalar(cursor, kind) for _ in range(n_items))
    offset = cursor.position
    if kind == STRING:
        cursor.skip_texts(n_items)
    else:
        cursor.skip(n_items * item_bytes)
    return LongArray(n_items, kind, offset, cursor.position - offset)


def _tensor_head(cursor: _Cursor) -> tuple[str, GgmlType, tuple[int, ...], int]:
    name = cursor.text(MAX_NAME_BYTES, "a tensor's name")
    if not name or not name.isprintable():
        raise _MalformedError(f"{name!r} is not a valid tensor name")
    n_dims = cursor.u32()
    if n_dims > MAX_DIMS:
        raise _MalformedError(f"tensor {name} has {n_dims} dimensions")
    dims = tuple(cursor.u64() for _ in range(n_dims))
    kind = TYPE_BY_NUMBER.get(cursor.u32())
    if kind is None:
        raise _MalformedError(f"tensor {name} has a type that the pinned llama.cpp does not know")
    if not dims or min(dims) < 1 or max(dims) >= 1 << 63:
        raise _MalformedError(f"tensor {name} has the shape {list(dims)}")
    if dims[0] % kind.block:
        raise _MalformedError(f"tensor {name} has rows of {dims[0]}, which {kind.name} cannot store")
    return name, kind, dims, cursor.u64()
