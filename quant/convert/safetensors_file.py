"""One safetensors file: its header, which is untrusted, and its tensors, read in chunks.

Headers are bounded and checked against the file before anything else is read.
Source: the safetensors format (8 bytes little-endian header length, a JSON header, the tensors' bytes); the types are
those of Dtype in safetensors/src/tensor.rs (0.7).
"""

import json
import math
import struct
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.base.files import POINTER_BYTES, refuse_pointer
from quant.gguf_io.floats import FILE_DTYPES

MAX_HEADER_BYTES = 100 << 20  # the format's own limit
_READ_AS = FILE_DTYPES | {"F64": "<f8"}
_STORED_AS = _READ_AS | {
    "I64": "<i8", "U64": "<u8", "I32": "<i4", "U32": "<u4", "I16": "<i2", "U16": "<u2", "I8": "i1", "U8": "u1",
    "F8_E4M3": "u1", "F8_E5M2": "u1", "F8_E8M0": "u1",
}  # fmt: skip
_LENGTH = struct.Struct("<Q")
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "C64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16,
    "U16": 16, "I8": 8, "U8": 8, "BOOL": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip


@dataclass(frozen=True)
class Tensor:
    """A tensor's place in a safetensors file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    path: Path
    offset: int  # bytes from the start of the file

    @property
    def n_elements(self) -> int:
        """The product of the shape."""
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The offset after the last byte."""
        return self.offset + -(-BITS[self.dtype] * self.n_elements // 8)

    @property
    def is_plain(self) -> bool:
        """Whether its type is one that is converted."""
        return self.dtype in _READ_AS

    @property
    def read_dtype(self) -> str:
        """The type that `read` returns: float64 is rounded to float32."""
        return "F32" if self.dtype == "F64" else self.dtype

    @property
    def is_packed(self) -> bool:
        """Whether its type is one that quantized weights and their scales have."""
        return self.dtype.startswith(("F8_", "F6_", "F4", "U")) or self.dtype in ("I32", "I16", "I8")

    def refusal(self) -> UserError:
        """Return the error for a type that is not converted."""
        what = f"tensor {self.name[:200]} in {self.path} is {self.dtype}"
        if self.is_packed:
            return UserError(
                f"{what}, so its weights are quantized already; use the checkpoint that it was made from, "
                "or llama.cpp's own converter with --converter DIR"
            )
        return UserError(f"{what}; F64, F32, F16 and BF16 are converted: save the weights in one of these")

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first` as `read_dtype`: float32, float16, or uint16 for bfloat16's bits.

        Read rather than mapped: mapped pages would count as this process's memory.

        Raises:
            UserError: the type is not one that is converted, or the file ended early.
        """
        if not self.is_plain:
            raise self.refusal()
        found = self.read_stored(first, count)
        with np.errstate(over="ignore"):  # what is infinite in float32 is refused later
            return found.astype(np.float32) if self.dtype == "F64" else found

    @property
    def stored_dtype(self) -> str:
        """The type of `read_stored`, for numpy."""
        return _STORED_AS[self.dtype]

    def read_stored(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first` as the file has them: bfloat16 and FP8 as their bits.

        Raises:
            UserError: the file ended early.
        """
        offset = self.offset + first * BITS[self.dtype] // 8
        try:
            found = np.fromfile(self.path, dtype=self.stored_dtype, count=count, offset=offset)
        except OSError as error:
            raise UserError(f"cannot read {self.path}: {error.strerror or error}; download it again") from error
        if len(found) != count:
            raise UserError(f"{self.path} ended while tensor {self.name} was read; download it again")
        return found


def read_header(path: Path) -> list[Tensor]:
    """Read and check one file's header.

    Raises:
        UserError: the header or a tensor is not within the file, or contradicts itself.
    """
    try:
        header, data_start, size = _header_object(path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"the header of {path} is no JSON ({str(error)[:80]}); download it again") from error
    if not isinstance(header, dict):
        raise UserError(f"the header of {path} is no JSON object; download it again")
    header.pop("__metadata__", None)
    tensors = [_tensor(path, name, entry, data_start) for name, entry in header.items()]
    for tensor in tensors:
        if tensor.end > size:
            raise UserError(
                f"{path} is truncated: tensor {tensor.name} ends {tensor.end - size} bytes after its end; "
                "download it again"
            )
    for one, next_one in pairwise(sorted(tensors, key=lambda tensor: (tensor.offset, tensor.end))):
        if next_one.offset < one.end:
            raise UserError(f"tensors overlap in {path}; download it again")
    return tensors


def _header_object(path: Path) -> tuple[Any, int, int]:
    """Return a file's header, the offset of the tensors' data, and the file's size in bytes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(max(_LENGTH.size, POINTER_BYTES))
        refuse_pointer(path, start)
        if len(start) < _LENGTH.size:
            raise UserError(f"{path} is too short for a safetensors file; download it again")
        (length,) = _LENGTH.unpack_from(start)
        if length > size - _LENGTH.size:
            raise UserError(
                f"the header of {path} is longer than the file ({length} bytes of {size}); download it again"
            )
        if length > MAX_HEADER_BYTES:
            raise UserError(
                f"the header of {path} is {length} bytes long, but the format allows {MAX_HEADER_BYTES}; "
                "download it again"
            )
        file.seek(_LENGTH.size)
        return json.loads(file.read(length)), _LENGTH.size + length, size


class _Entry(msgspec.Struct, frozen=True):
    """A tensor in a header."""

    dtype: str
    shape: Annotated[tuple[Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)], ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[int, int]


def _tensor(path: Path, name: str, entry: Any, data_start: int) -> Tensor:
    def broken(what: str) -> UserError:
        return UserError(f"the header of {path} is broken: tensor {name[:100]!r} {what}; download it again")

    try:
        found = msgspec.convert(entry, _Entry)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:  # half a UTF-16 pair is valid JSON, and no text
        raise broken(f"is invalid: {error}") from error
    if found.dtype not in BITS:
        raise broken(f"has the unknown type {found.dtype[:20]}")
    begin, end = found.data_offsets
    tensor = Tensor(name=name, dtype=found.dtype, shape=found.shape, path=path, offset=data_start + begin)
    if begin < 0 or tensor.end != data_start + end:
        raise broken("has a size that does not match its shape")
    return tensor
