"""compressed-tensors: numbers of 8 bits with scales, whole numbers packed into words, and FP4.

Which of these a weight is shows in its parts; the settings name the sizes of groups and blocks.
Source: dequant_model in conversion/base.py of the pinned llama.cpp, and the formats in
compressed_tensors/compressors of the package (0.12).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32, FLOATS, FP8, as_f32, checked_groups, in_groups, unpack_bits
from quant.convert.stored.fp4 import packed as packed_fp4
from quant.convert.stored.fp8 import block_sizes
from quant.convert.stored.parts import Parts, Settings, Weight, matrix, unread, whole_number, wrong
from quant.convert.stored.scaled import Grid, Scaled, grid

_FORMATS = (
    *("float-quantized", "int-quantized", "naive-quantized", "pack-quantized"),
    *("nvfp4-pack-quantized", "mxfp4-pack-quantized", "mixed-precision"),
)
_PACKED_BITS = (2, 4, 8)  # those of other sizes are packed differently by different versions
_ALL_BITS = " or ".join(map(str, _PACKED_BITS))
_WORD = 32  # bits
Blocks = tuple[int, ...] | None  # sizes of blocks; None: a scale per tensor or row


def weights(parts: Parts, settings: Settings) -> dict[str, Weight]:
    """Return the weights of method compressed-tensors.

    Raises:
        UserError: a part is missing or does not fit, or the format is not read.
    """
    if (form := settings.get("format")) not in _FORMATS:
        raise unread(f"compressed-tensors in the format {form}")
    if settings.get("transform_config"):
        raise unread("compressed-tensors with transforms of their inputs")
    schemes = _schemes(settings)
    made: dict[str, Weight] = {}
    for name in parts.names("_packed"):
        is_words = parts.tensors[f"{name}_packed"].dtype == "I32"
        made[name] = _words(parts, name, schemes) if is_words else packed_fp4(parts, name)
    sizes = [_blocks(scheme) for scheme in schemes]
    for module in parts.names(".weight_scale"):
        made[f"{module}.weight"] = _bytes(parts, f"{module}.weight", sizes)
    return made


def _schemes(settings: Settings) -> Sequence[Settings]:
    """Return how weights are stored, by the settings: one scheme, or several for different modules."""
    groups = settings.get("config_groups")
    groups = groups.values() if isinstance(groups, dict) else ()
    found = [each.get("weights") for each in groups if isinstance(each, dict)]
    schemes = [each for each in found if isinstance(each, dict)]
    if not schemes:
        raise unread("compressed-tensors without config_groups")
    return schemes


def _blocks(scheme: Settings) -> Blocks:
    if scheme.get("block_structure") is not None:
        return block_sizes(scheme.get("block_structure"))
    if scheme.get("group_size") not in (None, -1):
        return 1, whole_number(scheme, "group_size")
    return None


def _fitting(part: Tensor, shape: tuple[int, ...], sizes: Sequence[Blocks]) -> Grid:
    """Return the numbers of a weight's blocks, by the first of several schemes that they fit.

    Raises:
        UserError: they fit none.
    """
    for blocks in sizes[:-1]:
        with suppress(UserError):
            return grid(part, shape, blocks)
    return grid(part, shape, sizes[-1])


def _bytes(parts: Parts, name: str, sizes: Sequence[Blocks]) -> Scaled:
    weight = matrix(parts.take(name, (*FP8, "I8")))
    scale = _fitting(parts.take(f"{name}_scale", FLOATS), weight.shape, sizes)
    zero = parts.take_if_there(f"{name}_zero_point", (*FP8, "I8", *FLOATS), scale.part.shape)
    return Scaled(weight, scale, None if zero is None else Grid(zero, scale.shape, scale.blocks))


def _words(parts: Parts, name: str, schemes: Sequence[Settings]) -> "Packed":
    part = parts.take(f"{name}_packed", ("I32",), (None, None))
    (n_out, n_words), stored = part.shape, parts.take(f"{name}_shape", ("I64", "I32"), (2,))
    shape = tuple(int(n) for n in stored.read_stored(0, 2))
    for scheme in schemes:
        bits = whole_number(scheme, "num_bits")
        if bits in _PACKED_BITS and shape[0] == n_out and -(-shape[1] * bits // _WORD) == n_words:
            break
    else:
        raise wrong(part, f"is {list(part.shape)}, which is not {list(shape)} of {_ALL_BITS} bits")
    scale = _fitting(parts.take(f"{name}_scale", FLOATS, (n_out, None)), shape, [_blocks(each) for each in schemes])
    n_groups = scale.part.shape[1]
    zero = parts.take_if_there(f"{name}_zero_point", ("I32",), (-(-n_out * bits // _WORD), n_groups))
    g_idx = parts.take_if_there(f"{name}_g_idx", ("I32", "I64"), (shape[1],))
    return Packed(part, shape, bits, scale, zero, g_idx)


@dataclass(frozen=True)
class Packed:
    """A matrix whose numbers are packed along its inputs, and its zero points along its outputs."""

    part: Tensor  # (n_out, n_in x bits / 32, rounded up)
    shape: tuple[int, ...]
    bits: int
    scale: Grid  # (n_out, n_groups)
    zero: Tensor | None  # (n_out x bits / 32, rounded up, n_groups)
    g_idx: Tensor | None  # the group of each input; -1 where they are in order

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized."""
        (n_in, n_words), n_groups = (self.shape[1], self.part.shape[1]), self.scale.part.shape[1]
        words = self.part.read_stored(first * n_words, (last - first) * n_words).reshape(-1, n_words)
        scales = as_f32(self.scale.part, first * n_groups, (last - first) * n_groups).reshape(-1, n_groups)
        numbers = unpack_bits(words, self.bits)[:, :n_in]
        return in_groups(numbers, self._zeros(first, last, n_groups), scales, self._groups(n_in, n_groups))

    def _zeros(self, first: int, last: int, n_groups: int) -> F32:
        """Return the zero points of rows' groups; without them, the middle of the numbers."""
        if self.zero is None:
            return np.full((last - first, n_groups), 1 << (self.bits - 1), np.float32)
        in_a_word = _WORD // self.bits
        start, stop = first // in_a_word, -(-last // in_a_word)
        words = self.zero.read_stored(start * n_groups, (stop - start) * n_groups).reshape(-1, n_groups)
        found = unpack_bits(np.ascontiguousarray(words.T), self.bits)
        return found[:, first % in_a_word :][:, : last - first].T.astype(np.float32)

    def _groups(self, n_in: int, n_groups: int) -> NDArray[np.intp]:
        """Return each input's group."""
        if self.g_idx is not None:
            stored = self.g_idx.read_stored(0, n_in)
            if not (stored == -1).any():
                found = checked_groups(stored, n_groups)
                if found is None:
                    raise wrong(self.g_idx, f"names a group that is none of {n_groups}")
                return found
        return np.arange(n_in) // self.scale.blocks[1]
