"""float32 powers with torch's rounding: rope factors are compared with those of llama.cpp's converter bit by bit.

torch computes 16 values at a time (AVX2) with SLEEF's powf, which errs in the last bit for one value in a hundred, and
the others at the end with the C library's powf, which nearly never does. Where torch takes other steps (AVX-512, ARM),
its own results differ from these in the last bit.
Source: pow_tensor_tensor_kernel and vectorized_loop in torch's aten/src/ATen/native/cpu; xpowf and expkf of SLEEF.
"""

import numpy as np
from numpy.typing import NDArray

F32 = np.float32
_AT_ONCE = 16
_LN2_HIGH, _LN2_LOW = np.float64(F32(0.693145751953125)), np.float64(F32(1.428606765330187045e-06))
_LOG2_E = F32(1.442695040888963407)
# Of (exp(x) - 1 - x) / x**2, from the highest power down.
_COEFFICIENTS = (
    0.00136324646882712841,
    0.00836596917361021042,
    0.0416710823774337769,
    0.166665524244308472,
    0.499999850988388062,
)


def torch_power(base: float, exponents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return base ** exponents as torch does; for a positive base and results within float32's range."""
    n_vectors = len(exponents) // _AT_ONCE * _AT_ONCE
    wide = np.float64(F32(base))
    tail = np.power(wide, exponents[n_vectors:].astype(np.float64)).astype(F32)
    return np.concatenate([_vector_power(wide, exponents[:n_vectors]), tail])


def _vector_power(base: np.float64, exponents: NDArray[np.float32]) -> NDArray[np.float32]:
    """Follow SLEEF: what it holds in two float32 is held in one float64, and fused steps are rounded once."""
    logs = np.log(base) * exponents.astype(np.float64)
    whole = np.rint(logs.astype(F32) * _LOG2_E)
    rest = logs - whole * _LN2_HIGH - whole * _LN2_LOW
    x = rest.astype(F32).astype(np.float64)
    series = np.full(x.shape, F32(_COEFFICIENTS[0]))
    for coefficient in _COEFFICIENTS[1:]:
        series = (series * x + np.float64(F32(coefficient))).astype(F32)
    powers = (1 + (rest + rest * rest * series)).astype(F32)
    scaled: NDArray[np.float32] = np.ldexp(powers, whole.astype(np.int32))
    return scaled
