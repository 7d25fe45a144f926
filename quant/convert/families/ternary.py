"""Weights of three values: BitNet's layers compute with 1, 0 and -1, times the mean of the absolute values.

Checkpoints have what these were trained from. The mean is torch's with one thread, bit by bit: it adds 4 times 8 values
at once (AVX2), in a cascade of levels; with more threads its own last bit differs.
Source: weight_quant in conversion/bitnet.py of the pinned llama.cpp; row_sum and multi_row_sum in torch's
aten/src/ATen/native/cpu/SumKernel.cpp.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_LANES, _ROWS = 8, 4
_LEVELS, _LEAST_POWER = 4, 4
_LEAST_SCALE = np.float32(1e-5)


def ternary_scale(values: Floats) -> np.float32:
    """Return the scale of a whole tensor, flat."""
    return max(_mean(np.abs(values)), _LEAST_SCALE)


def ternary(values: Floats, scale: np.float32) -> Floats:
    """Return the nearest of the scale, zero and the negative scale for each value."""
    inverse = np.float32(1) / scale  # divided by, as torch does: this errs in the last bit
    found: Floats = np.clip(np.rint(values * inverse), np.float32(-1), np.float32(1)) / inverse
    return found


def _mean(values: Floats) -> np.float32:
    vectors = values[: len(values) // _LANES * _LANES].reshape(-1, _LANES)
    n_steps = len(vectors) // _ROWS
    first, *others = _cascade(vectors[: n_steps * _ROWS].reshape(n_steps, _ROWS, _LANES))
    lanes = _in_turn(first, [*vectors[n_steps * _ROWS :], *others])
    total = _in_turn(np.zeros(1, np.float32), [*values[vectors.size :], *lanes])
    return np.float32(total[0] / np.float32(len(values)))


def _cascade(steps: Floats) -> Floats:
    """Add up over the first dimension; of each level's sums, so many become one of the next."""
    each = 1 << max(_LEAST_POWER, _ceil_log2(len(steps)) // _LEVELS)
    total = np.zeros(steps.shape[1:], np.float32)
    left_over = []
    for _ in range(_LEVELS - 1):
        whole = len(steps) // each
        left_over.append(_in_turn(total, steps[whole * each :]))
        blocks = steps[: whole * each].reshape(whole, each, *total.shape)
        steps = _in_turn(np.zeros((whole, *total.shape), np.float32), np.moveaxis(blocks, 1, 0))
    left_over.append(_in_turn(total, steps))
    return _in_turn(left_over[0], left_over[1:])


def _in_turn(total: Floats, addends: "Floats | list[Floats]") -> Floats:
    """Add one after the other, which numpy's own sum does not."""
    for addend in addends:
        total = total + addend
    return total


def _ceil_log2(number: int) -> int:
    return max(1, (number - 1).bit_length()) if number > 0 else 1
