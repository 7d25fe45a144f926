"""GPTQ: numbers of 2, 3, 4 or 8 bits, packed along the inputs; a scale and a zero point for each output of a group.

The matrix is stored with its inputs first. `g_idx` is the group of each input.
Source: dequant_gptq in conversion/base.py of the pinned llama.cpp; 3 bits, of which 32 follow each other in three
words: pack of QuantLinear in AutoGPTQ.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32, FLOATS, checked_groups, in_groups, read_columns, to_f32, unpack_bits
from quant.convert.stored.parts import Parts, Settings, Weight, unread, whole_number, wrong

_BITS = (2, 3, 4, 8)
_WORD = 32  # bits
_ONE_LESS, _AS_THEY_ARE = "gptq", "gptq_v2"  # how zero points are stored


def weights(parts: Parts, settings: Settings) -> dict[str, Weight]:
    """Return the weights of method gptq.

    Raises:
        UserError: a part is missing or does not fit, or the numbers are stored in another form.
    """
    form = "marlin" if settings.get("is_marlin_format") else settings.get("checkpoint_format", _ONE_LESS)
    if form not in (_ONE_LESS, _AS_THEY_ARE):
        raise unread(f"GPTQ in the form {form}")
    return {f"{name}.weight": _weight(parts, name, settings, form) for name in parts.names(".qweight")}


def _weight(parts: Parts, name: str, settings: Settings, form: str) -> "Gptq":
    bits = whole_number(settings, "bits", _BITS)
    qweight = parts.take(f"{name}.qweight", ("I32",), (None, None))
    n_words, n_out = qweight.shape
    n_in = n_words * _WORD // bits
    if n_words * _WORD % bits or n_out * bits % _WORD:
        raise wrong(qweight, f"is {list(qweight.shape)}, which are no whole rows of {bits} bits")
    scales = parts.take(f"{name}.scales", FLOATS, (None, n_out))
    n_groups = scales.shape[0]
    qzeros = parts.take(f"{name}.qzeros", ("I32",), (n_groups, n_out * bits // _WORD))
    g_idx = parts.take_if_there(f"{name}.g_idx", ("I32", "I64"), (n_in,))
    group_size = n_in
    if g_idx is None and settings.get("group_size") != -1:
        group_size = whole_number(settings, "group_size")
    if g_idx is None and -(-n_in // group_size) != n_groups:
        raise wrong(scales, f"is {list(scales.shape)}, not {[-(-n_in // group_size), n_out]}")
    return Gptq(qweight, qzeros, scales, g_idx, bits, group_size, int(form == _ONE_LESS))


@dataclass(frozen=True)
class Gptq:
    """A matrix that is stored by GPTQ."""

    part: Tensor  # (n_in x bits / 32, n_out)
    qzeros: Tensor  # (n_groups, n_out x bits / 32)
    scales: Tensor  # (n_groups, n_out)
    g_idx: Tensor | None  # (n_in,)
    bits: int
    group_size: int  # where there is no g_idx
    zero_offset: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Outputs and inputs."""
        return self.part.shape[1], self.part.shape[0] * _WORD // self.bits

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized: columns of what is stored."""
        packed = np.ascontiguousarray(read_columns(self.part, first, last).T)
        scales = to_f32(read_columns(self.scales, first, last), self.scales.dtype).T
        return in_groups(unpack_bits(packed, self.bits), self._zeros(first, last), scales, self._groups())

    def _zeros(self, first: int, last: int) -> F32:
        """Return the zero points of rows' groups; 32 of them take as many words as they have bits."""
        start, stop = first // _WORD * self.bits, -(-last // _WORD) * self.bits
        words = read_columns(self.qzeros, start, min(stop, self.qzeros.shape[1]))
        found = unpack_bits(words, self.bits)[:, first % _WORD :][:, : last - first]
        return found.T.astype(np.float32) + np.float32(self.zero_offset)

    def _groups(self) -> NDArray[np.intp]:
        """Return each input's group."""
        if self.g_idx is None:
            return np.arange(self.shape[1]) // self.group_size
        found = checked_groups(self.g_idx.read_stored(0, self.g_idx.n_elements), self.scales.shape[0])
        if found is None:
            raise wrong(self.g_idx, f"names a group that is none of {self.scales.shape[0]}")
        return found
