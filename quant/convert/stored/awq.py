"""AWQ: numbers of 4 bits, eight outputs in a word; a scale and a zero point for each output of a group of inputs.

The matrix is stored with its inputs first. Source: unpack_awq, reverse_awq_order and dequantize_gemm in
awq/utils/packing_utils.py of AutoAWQ; the product is not rounded to float16 here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32, FLOATS, in_groups, read_columns, to_f32, unpack_bits
from quant.convert.stored.parts import Parts, Settings, Weight, unread, wrong

_BITS = 4
_IN_A_WORD = 32 // _BITS
_PLACES = [0, 4, 1, 5, 2, 6, 3, 7]  # of a word's outputs in it


def weights(parts: Parts, settings: Settings) -> dict[str, Weight]:
    """Return the weights of method awq.

    Raises:
        UserError: a part is missing or does not fit, or the numbers are packed in another way.
    """
    version, bits = settings.get("version", "gemm"), settings.get("bits", settings.get("w_bit", _BITS))
    if str(version).lower() != "gemm" or bits != _BITS:
        raise unread(f"AWQ {version} of {bits} bits")
    return {f"{name}.weight": _weight(parts, name) for name in parts.names(".qweight")}


def _weight(parts: Parts, name: str) -> "Awq":
    qweight = parts.take(f"{name}.qweight", ("I32",), (None, None))
    n_in, n_words = qweight.shape
    scales = parts.take(f"{name}.scales", FLOATS, (None, n_words * _IN_A_WORD))
    qzeros = parts.take(f"{name}.qzeros", ("I32",), (scales.shape[0], n_words))
    if n_in % scales.shape[0]:
        raise wrong(scales, f"is {list(scales.shape)}, so that {n_in} inputs are no whole groups")
    return Awq(qweight, qzeros, scales)


@dataclass(frozen=True)
class Awq:
    """A matrix that is stored by AWQ."""

    part: Tensor  # (n_in, n_out / 8)
    qzeros: Tensor  # (n_groups, n_out / 8)
    scales: Tensor  # (n_groups, n_out)

    @property
    def shape(self) -> tuple[int, ...]:
        """Outputs and inputs."""
        return self.scales.shape[1], self.part.shape[0]

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized: columns of what is stored."""
        n_in, n_groups = self.part.shape[0], self.scales.shape[0]
        zeros = _outputs(self.qzeros, first, last).astype(np.float32)
        scales = to_f32(read_columns(self.scales, first, last), self.scales.dtype).T
        return in_groups(_outputs(self.part, first, last), zeros, scales, np.arange(n_in) // (n_in // n_groups))


def _outputs(packed: Tensor, first: int, last: int) -> NDArray[np.uint8]:
    """Return some outputs' numbers: (last - first, n_in or n_groups)."""
    words = read_columns(packed, first // _IN_A_WORD, -(-last // _IN_A_WORD))
    numbers = unpack_bits(words, _BITS).reshape(len(words), -1, _IN_A_WORD)[..., _PLACES].reshape(len(words), -1)
    return np.ascontiguousarray(numbers[:, first % _IN_A_WORD :][:, : last - first].T)
