"""The stored numbers of a tensor, in float32, and small numbers packed into larger ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.safetensors_file import Tensor
from quant.gguf_io.floats import FILE_DTYPES, convert_floats

F32 = NDArray[np.float32]

_E4M3_BIAS, _E8M0_BIAS = 7, 127
# E2M1: two bits of exponent, one of mantissa. Source: the OCP Microscaling Formats specification 1.0, section 5.3.3.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def _e4m3() -> F32:
    """Return the values of E4M3 without infinities. Source: the OCP 8-bit floating point specification 1.0."""
    code = np.arange(128)
    exponent, mantissa = code >> 3, (code & 7) / 8
    made = np.where(exponent > 0, np.ldexp(1 + mantissa, exponent - _E4M3_BIAS), np.ldexp(mantissa, 1 - _E4M3_BIAS))
    made[-1] = np.nan
    return np.concatenate([made, -made]).astype(np.float32)


def _e8m0() -> F32:
    """Return the values of E8M0, which are powers of two. Source: as E2M1, section 5.4.1."""
    return np.append(np.ldexp(1.0, np.arange(255) - _E8M0_BIAS), np.nan).astype(np.float32)


# By the type's name in safetensors; E5M2 is float16's upper byte.
_TABLES = {
    "F8_E4M3": _e4m3(),
    "F8_E5M2": (np.arange(256, dtype=np.uint16) << 8).view(np.float16).astype(np.float32),
    "F8_E8M0": _e8m0(),
}
FLOATS = tuple(FILE_DTYPES)
FP8 = ("F8_E4M3", "F8_E5M2")


def as_f32(tensor: Tensor, first: int, count: int) -> F32:
    """Read `count` numbers from `first`, in float32.

    Raises:
        UserError: the file ended early.
    """
    return to_f32(tensor.read_stored(first, count), tensor.dtype)


def to_f32(stored: NDArray[Any], dtype: str) -> F32:
    """Return numbers that were read as a file has them, in float32."""
    if dtype in _TABLES:
        found: F32 = _TABLES[dtype][stored]
        return found
    if dtype in FILE_DTYPES:
        return convert_floats(stored, dtype, "F32")
    return stored.astype(np.float32)


def read_columns(tensor: Tensor, first: int, last: int) -> NDArray[Any]:
    """Read some columns of a matrix as the file has them: (n_rows, last - first).

    Each row's part is read alone: the whole matrix, for a few of its columns, would be read over and over.

    Raises:
        UserError: the file cannot be read, or ended early.
    """
    n_rows, n_columns = tensor.shape
    made = np.empty((n_rows, last - first), tensor.stored_dtype)
    try:
        with tensor.path.open("rb", buffering=0) as file:
            for row in range(n_rows):
                file.seek(tensor.offset + (row * n_columns + first) * made.itemsize)
                if file.readinto(made[row].view(np.uint8).data) != made[row].nbytes:
                    raise UserError(f"{tensor.path} ended while tensor {tensor.name} was read; download it again")
    except OSError as error:
        raise UserError(f"cannot read {tensor.path}: {error.strerror or error}; download it again") from error
    return made


def unpack_bits(words: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """Return the numbers of 2, 3, 4 or 8 bits that follow each other along the last axis, the lowest bits first.

    Args:
        words: contiguous; below 8 bits, a row's bytes are a multiple of `bits`.
    """
    data = words.view(np.uint8)
    if bits == 8:
        return data
    groups = data.reshape(*data.shape[:-1], -1, bits)  # so many bytes hold eight numbers
    made = np.empty((*groups.shape[:-1], 8), np.uint8)
    for place in range(8):
        byte, shift = divmod(place * bits, 8)
        number = groups[..., byte] >> shift
        if shift + bits > 8:
            number |= groups[..., byte + 1] << (8 - shift)
        made[..., place] = number & ((1 << bits) - 1)
    return made.reshape(*data.shape[:-1], -1)


def unpack_nibbles(data: NDArray[np.uint8], *, high_first: bool = False) -> NDArray[np.uint8]:
    """Return the two numbers of each byte, one after the other."""
    made = np.empty((*data.shape[:-1], 2 * data.shape[-1]), np.uint8)
    made[..., int(high_first) :: 2] = data & 15
    made[..., int(not high_first) :: 2] = data >> 4
    return made


def in_groups(numbers: NDArray[np.uint8], zeros: F32, scales: F32, group: NDArray[np.intp]) -> F32:
    """Return (number - zero) x scale of rows.

    Args:
        numbers: (n_rows, n_in).
        zeros, scales: (n_rows, n_groups).
        group: of each column.
    """
    made = numbers.astype(np.float32)
    n_in, n_groups = numbers.shape[1], zeros.shape[1]
    if n_in % n_groups == 0 and np.array_equal(group, np.arange(n_in) // (n_in // n_groups)):
        in_order = made.reshape(len(made), n_groups, -1)  # a view, several times as fast
        in_order -= zeros[..., None]
        in_order *= scales[..., None]
        return made
    made -= zeros[:, group]
    made *= scales[:, group]
    return made


def checked_groups(g_idx: NDArray[Any], n_groups: int) -> NDArray[np.intp] | None:
    """Return the group of each column; None if one is not there."""
    if g_idx.min() < 0 or g_idx.max() >= n_groups:
        return None
    return g_idx.astype(np.intp)
