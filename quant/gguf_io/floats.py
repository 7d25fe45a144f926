"""Convert between float32, float16 and bfloat16, rounding to nearest even, exactly as torch and gguf do."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# How files hold each type, for numpy; bfloat16 is read as its bits.
FILE_DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_BITS = {
    "F32": (np.uint32, np.uint32(0x7F800000)),
    "F16": (np.uint16, np.uint16(0x7C00)),
    "BF16": (np.uint16, np.uint16(0x7F80)),
}
_QUIET = np.uint32(64 << 16)  # the quiet bit, so that a NaN stays one when its low half is cut off


def convert_floats(values: NDArray[Any], source: str, target: str) -> NDArray[Any]:
    """Convert flat values; bfloat16 is represented as uint16.

    Args:
        source, target: "F32", "F16" or "BF16".

    Values beyond float16's range become infinite, as in other converters; see `n_overflowed`.
    """
    if source == target:
        return values
    wide = _to_f32(values, source)
    if target == "F32":
        return wide
    if target == "F16":
        with np.errstate(over="ignore"):
            return wide.astype(np.float16)
    return _to_bf16(wide)


def _to_f32(values: NDArray[Any], source: str) -> NDArray[np.float32]:
    if source == "BF16":
        return (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return values.astype(np.float32, copy=False)


def _to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(values).view(np.uint32)
    not_a_number = (bits & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    if not_a_number.any():
        bits = np.where(not_a_number, (bits & np.uint32(0xFFFF0000)) | _QUIET, bits)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return ((bits + rounding) >> np.uint32(16)).astype(np.uint16)


def first_not_finite(values: NDArray[Any], kind: str) -> int | None:
    """Return the index of the first value that is NaN or infinite; None if all are finite.

    Args:
        values: flat; bfloat16 is represented as uint16.
        kind: "F32", "F16" or "BF16".
    """
    bits, exponent = _BITS[kind]
    # NaN and infinity are the values whose exponent has all bits.
    exponents = values.view(bits) & exponent
    if not values.size or exponents.max() != exponent:
        return None
    return int(np.argmax(exponents == exponent))


def n_overflowed(source: NDArray[Any], source_type: str, target: NDArray[Any], target_type: str) -> int:
    """Count the values that were finite and are infinite now, which happens only in float16."""
    if target_type != "F16" or source_type == "F16":
        return 0
    infinite = np.isinf(target)
    if not infinite.any():
        return 0
    return int(np.count_nonzero(np.isfinite(_to_f32(source[infinite], source_type))))
