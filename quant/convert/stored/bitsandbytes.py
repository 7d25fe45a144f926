"""bitsandbytes: NF4 and FP4, whose scales may be quantized too, and the 8 bits of LLM.int8.

Four bits are a place in a table of 16 values, the upper half of a byte first; each block of the matrix, row after row,
has its largest value as scale.
Source: QuantState and dequantize_4bit in bitsandbytes/functional.py (0.50), int8_vectorwise_dequant in _ops.py.
"""

from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
import numpy as np

from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32, FLOATS, as_f32, unpack_nibbles
from quant.convert.stored.parts import Parts, Settings, Weight, matrix, n_rows, unread, wrong

_KINDS = ("nf4", "fp4")
_BLOCK_SIZES = tuple(32 << step for step in range(8))
_STORAGES = ("U8", "I8", *FLOATS)  # the bytes may be stored as numbers of another type
_MAX_STATE_BYTES = 4096
_ROW_MAJOR = 0  # of weight_format
_PER_STEP = np.float32(7.874015718698502e-3)  # 1 / 127
_Size = Annotated[int, msgspec.Meta(ge=1, lt=1 << 40)]


class _State(msgspec.Struct, frozen=True):
    """What bitsandbytes stores beside a matrix of four bits, as JSON."""

    shape: Annotated[tuple[_Size, ...], msgspec.Meta(min_length=2, max_length=4)]
    blocksize: int
    nested_blocksize: int | None = None
    nested_offset: float = 0.0


def weights(parts: Parts, _settings: Settings) -> dict[str, Weight]:
    """Return the weights of method bitsandbytes.

    Raises:
        UserError: a part is missing or does not fit.
    """
    made: dict[str, Weight] = {}
    for kind in _KINDS:
        suffix = f".quant_state.bitsandbytes__{kind}"
        made |= {name: _four_bits(parts, name, suffix) for name in parts.names(suffix)}
    made |= {f"{name}.weight": _eight_bits(parts, name) for name in parts.names(".SCB")}
    return made


def _four_bits(parts: Parts, name: str, suffix: str) -> "FourBits":
    stored = parts.take(name + suffix, ("U8",))
    if stored.n_elements > _MAX_STATE_BYTES:
        raise wrong(stored, f"has {stored.n_elements} bytes, more than a quantization's state")
    try:
        state = msgspec.json.decode(stored.read_stored(0, stored.n_elements).tobytes(), type=_State)
    except msgspec.DecodeError as error:
        raise wrong(stored, f"is no state of a quantization ({str(error)[:80]})") from error
    for size in (state.blocksize, state.nested_blocksize):
        if size not in (*_BLOCK_SIZES, None):
            raise wrong(stored, f"has blocks of {size}, which are none of {', '.join(map(str, _BLOCK_SIZES))}")
    packed = parts.take(name, _STORAGES)
    data = replace(packed, dtype="U8", shape=(packed.end - packed.offset,))
    n_elements = n_rows(state.shape) * state.shape[-1]
    if data.n_elements != -(-n_elements // 2):
        raise wrong(packed, f"has {data.n_elements} bytes, which are not {list(state.shape)} of 4 bits")
    n_blocks = -(-n_elements // state.blocksize)
    absmax = parts.take(f"{name}.absmax", FLOATS if state.nested_blocksize is None else ("U8",), (n_blocks,))
    nested = None
    if state.nested_blocksize is not None:
        outer = parts.take(f"{name}.nested_absmax", FLOATS, (-(-n_blocks // state.nested_blocksize),))
        table = parts.take(f"{name}.nested_quant_map", FLOATS, (256,))
        nested = Nested(table, outer, state.nested_blocksize, np.float32(state.nested_offset))
    quant_map = parts.take(f"{name}.quant_map", FLOATS, (16,))
    return FourBits(data, state.shape, quant_map, absmax, state.blocksize, nested)


@dataclass(frozen=True)
class Nested:
    """How scales are quantized: bytes are places in a table, each block of them has a scale."""

    table: Tensor
    absmax: Tensor
    block: int
    offset: np.float32

    def dequantize(self, stored: Tensor, first: int, last: int) -> F32:
        """Return scales from `first` up to `last`."""
        made: F32 = as_f32(self.table, 0, 256)[stored.read_stored(first, last - first)]
        made *= _repeated(self.absmax, self.block, first, last)
        made += self.offset
        return made


@dataclass(frozen=True)
class FourBits:
    """A matrix of NF4 or FP4."""

    part: Tensor  # its bytes
    shape: tuple[int, ...]
    table: Tensor  # 16 values
    absmax: Tensor  # of each block
    block: int
    nested: Nested | None

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized."""
        width = self.shape[-1]
        begin, end = first * width, last * width
        data = self.part.read_stored(begin // 2, -(-end // 2) - begin // 2)
        codes = unpack_nibbles(data, high_first=True)[begin % 2 :][: end - begin]
        made: F32 = as_f32(self.table, 0, 16)[codes]
        start, stop = begin // self.block, -(-end // self.block)
        if self.nested is None:
            scales = as_f32(self.absmax, start, stop - start)
        else:
            scales = self.nested.dequantize(self.absmax, start, stop)
        made *= np.repeat(scales, self.block)[begin % self.block :][: end - begin]
        return made.reshape(-1, width)


def _repeated(scales: Tensor, block: int, first: int, last: int) -> F32:
    """Return the scale of each element from `first` up to `last`."""
    start, stop = first // block, -(-last // block)
    return np.repeat(as_f32(scales, start, stop - start), block)[first % block :][: last - first]


def _eight_bits(parts: Parts, name: str) -> "EightBits":
    weight = matrix(parts.take(f"{name}.weight", ("I8",)))
    scales = parts.take(f"{name}.SCB", FLOATS)
    if scales.n_elements != n_rows(weight.shape):
        raise wrong(scales, f"is {list(scales.shape)}, not one scale for each row of {list(weight.shape)}")
    order = parts.take_if_there(f"{name}.weight_format", ("U8",))
    if order is not None and int(order.read_stored(0, 1)[0]) != _ROW_MAJOR:
        raise unread("LLM.int8 in the order of an accelerator")
    return EightBits(weight, scales)


@dataclass(frozen=True)
class EightBits:
    """A matrix of LLM.int8: 127 steps up to the largest value of each row."""

    part: Tensor
    scales: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored numbers."""
        return self.part.shape

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized."""
        width = self.shape[-1]
        made = as_f32(self.part, first * width, (last - first) * width).reshape(-1, width)
        made *= as_f32(self.scales, first, last - first)[:, None]
        made *= _PER_STEP
        return made
