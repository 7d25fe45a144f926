"""FP4: two numbers of E2M1 in a byte, the lower half first; MXFP4 scales 32 by a power of two, NVFP4 16 by E4M3.

llama.cpp's converter keeps NVFP4 as it is, in files of every type; here the same values are dequantized.
Source: the OCP Microscaling Formats specification 1.0; _generate_nvfp4_tensors, _nvfp4_pack and repack_mxfp4_blocks in
conversion/base.py and repack_mxfp4 in conversion/gpt_oss.py of the pinned llama.cpp.
"""

from dataclasses import dataclass, replace

import numpy as np

from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import E2M1, F32, FLOATS, as_f32, unpack_nibbles
from quant.convert.stored.parts import Parts, Settings, Weight, matrix, wrong
from quant.convert.stored.scaled import Grid, grid

_E8M0 = ("U8", "F8_E8M0")  # exponents are stored as bytes, too
_MX_BLOCK, _NV_BLOCK = 32, 16


def weights(parts: Parts, _settings: Settings) -> dict[str, Weight]:
    """Return the weights of method mxfp4: experts' blocks and scales, the inputs in the last dimension.

    Raises:
        UserError: a part is missing or does not fit.
    """
    made: dict[str, Weight] = {}
    for name in parts.names("_blocks"):
        blocks = parts.take(f"{name}_blocks", ("U8",))
        scales = parts.take(f"{name}_scales", _E8M0)
        if blocks.shape != (*scales.shape, _MX_BLOCK // 2):
            raise wrong(blocks, f"is {list(blocks.shape)}, not {_MX_BLOCK // 2} bytes for each of {list(scales.shape)}")
        made[name] = _mx(replace(blocks, shape=(*blocks.shape[:-2], blocks.shape[-2] * blocks.shape[-1])), scales)
    return made


def packed(parts: Parts, name: str) -> "Fp4":
    """Return a weight that compressed-tensors packed: by the type of its scales, NVFP4 or MXFP4.

    Raises:
        UserError: a part is missing or does not fit.
    """
    numbers = parts.take(f"{name}_packed", ("U8",))
    scale = parts.take(f"{name}_scale", ("F8_E4M3", *_E8M0))
    if scale.dtype != "F8_E4M3":
        return _mx(numbers, scale)
    return _nv(numbers, scale, _single(parts, f"{name}_global_scale"), divides=True)


def of_modelopt(parts: Parts, name: str) -> "Fp4":
    """Return a weight of ModelOpt's NVFP4.

    Raises:
        UserError: a part is missing or does not fit.
    """
    numbers, scale = parts.take(name, ("U8",)), parts.take(f"{name}_scale", ("F8_E4M3",))
    return _nv(numbers, scale, _single(parts, f"{name}_scale_2"))


def _single(parts: Parts, name: str) -> Tensor:
    factor = parts.take(name, FLOATS)
    if factor.n_elements != 1:
        raise wrong(factor, f"is {list(factor.shape)}, not one number")
    return factor


def _mx(numbers: Tensor, scale: Tensor) -> "Fp4":
    return Fp4(numbers, grid(replace(scale, dtype="F8_E8M0"), _shape_of(numbers), (_MX_BLOCK,)))


def _nv(numbers: Tensor, scale: Tensor, factor: Tensor, *, divides: bool = False) -> "Fp4":
    return Fp4(numbers, grid(scale, _shape_of(numbers), (_NV_BLOCK,)), factor, divides)


def _shape_of(numbers: Tensor) -> tuple[int, ...]:
    """Return the shape of a weight whose numbers are two in a byte."""
    return *matrix(numbers).shape[:-1], 2 * numbers.shape[-1]


@dataclass(frozen=True)
class Fp4:
    """A weight of FP4."""

    part: Tensor  # (..., n_in / 2)
    scale: Grid
    factor: Tensor | None = None  # of all
    divides: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the numbers."""
        return self.scale.shape

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized."""
        width = self.part.shape[-1]
        data = self.part.read_stored(first * width, (last - first) * width).reshape(-1, width)
        made: F32 = E2M1[unpack_nibbles(data)]
        made *= self.scale.rows(first, last)
        if self.factor is not None:
            factor = as_f32(self.factor, 0, 1)[0]
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # what is not finite is refused later
                made *= np.float32(1) / factor if self.divides else factor
        return made
