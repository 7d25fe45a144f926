"""FP4: two numbers of E2M1 in a byte, the lower half first; MXFP4 scales 32 by a power of two, NVFP4 16 by E4M3.

Both are types of ggml, whose blocks hold the same bits in another order: such a weight is read as floats or as blocks.
Source: the OCP Microscaling Formats specification 1.0; _generate_nvfp4_tensors, _nvfp4_pack and repack_mxfp4_blocks in
conversion/base.py and repack_mxfp4 in conversion/gpt_oss.py of the pinned llama.cpp.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import E2M1, F32, FLOATS, as_f32, unpack_nibbles
from quant.convert.stored.parts import Parts, Settings, Weight, matrix, wrong
from quant.convert.stored.scaled import Grid, grid

_E8M0 = ("U8", "F8_E8M0")  # exponents are stored as bytes, too
_MX_BLOCK, _NV_BLOCK = 32, 16
_NV_BLOCKS = 4  # in one of ggml's
_E4M3_NAN, _E8M0_NAN = np.uint8(0x7F), np.uint8(0xFF)  # without the sign
Bytes = NDArray[np.uint8]


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
    inputs = f"{name.removesuffix('.weight')}.input_global_scale"
    return _nv(numbers, scale, _factor(parts, f"{name}_global_scale", inputs, divides=True))


def of_modelopt(parts: Parts, name: str, *, wide_inputs: bool = False) -> "Fp4":
    """Return a weight of ModelOpt's NVFP4.

    Args:
        wide_inputs: whether its inputs are not to be quantized to four bits.

    Raises:
        UserError: a part is missing or does not fit.
    """
    numbers, scale = parts.take(name, ("U8",)), parts.take(f"{name}_scale", ("F8_E4M3",))
    factor = _factor(parts, f"{name}_scale_2", f"{name.removesuffix('.weight')}.input_scale", divides=False)
    return replace(_nv(numbers, scale, factor), wide_inputs=wide_inputs)


def _factor(parts: Parts, name: str, inputs: str, *, divides: bool) -> "Factor":
    found = parts.take(name, FLOATS)
    of_inputs = parts.take_if_there(inputs, FLOATS)
    for each in (found, of_inputs):
        if each is not None and each.n_elements != 1:
            raise wrong(each, f"is {list(each.shape)}, not one number")
    return Factor(found, of_inputs, divides)


def _mx(numbers: Tensor, scale: Tensor) -> "Fp4":
    return Fp4(numbers, grid(replace(scale, dtype="F8_E8M0"), _shape_of(numbers), (_MX_BLOCK,)))


def _nv(numbers: Tensor, scale: Tensor, factor: "Factor") -> "Fp4":
    return Fp4(numbers, grid(scale, _shape_of(numbers), (_NV_BLOCK,)), factor)


def _shape_of(numbers: Tensor) -> tuple[int, ...]:
    """Return the shape of a weight whose numbers are two in a byte."""
    return *matrix(numbers).shape[:-1], 2 * numbers.shape[-1]


@dataclass(frozen=True)
class Factor:
    """The one number by which all of a weight is multiplied, and that of its inputs, where they are quantized too."""

    part: Tensor
    of_inputs: Tensor | None
    divides: bool  # compressed-tensors stores the reciprocals

    def weight(self) -> np.float32:
        """Read the factor of the weight."""
        return self._read(self.part)

    def inputs(self) -> np.float32:
        """Read the factor of its inputs; one if there is none."""
        return np.float32(1) if self.of_inputs is None else self._read(self.of_inputs)

    def _read(self, part: Tensor) -> np.float32:
        value = np.float32(as_f32(part, 0, 1)[0])
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # what is not finite is refused later
            return np.float32(1) / value if self.divides else value


@dataclass(frozen=True)
class Fp4:
    """A weight of FP4."""

    part: Tensor  # (..., n_in / 2)
    scale: Grid
    factor: Factor | None = None  # of NVFP4
    wide_inputs: bool = False

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
            with np.errstate(over="ignore", invalid="ignore"):
                made *= self.factor.weight()
        return made

    @property
    def ggml_type(self) -> str | None:
        """The type whose blocks hold a row as it is; None if it is no whole number of them."""
        name, block = ("mxfp4", _MX_BLOCK) if self.factor is None else ("nvfp4", _NV_BLOCKS * _NV_BLOCK)
        return None if self.shape[-1] % block else name

    def blocks(self, first: int, last: int, columns: NDArray[np.intp] | None = None) -> Bytes:
        """Return rows as blocks of `ggml_type`, without the factor; (n_rows, bytes of a row).

        Args:
            columns: the place of each number of a row, which moves whole blocks of 16.

        Raises:
            UserError: the file ended early, or a scale is no number.
        """
        n_rows, width = last - first, self.part.shape[-1]
        codes = unpack_nibbles(self.part.read_stored(first * width, n_rows * width).reshape(n_rows, width))
        n_blocks = self.scale.part.shape[-1]
        scales = self.scale.part.read_stored(first * n_blocks, n_rows * n_blocks).reshape(n_rows, n_blocks)
        if self.factor is None:
            _refuse_nan(self.scale.part, scales == _E8M0_NAN)
            return np.concatenate([scales[..., None], _halved(codes, n_blocks)], -1).reshape(n_rows, -1)
        if columns is not None:
            codes, scales = codes[:, columns], scales[:, columns[::_NV_BLOCK] // _NV_BLOCK]
        _refuse_nan(self.scale.part, scales & _E4M3_NAN == _E4M3_NAN)
        # ggml's scales have no sign; the numbers' own are turned.
        signs: Bytes = scales >> np.uint8(7) << np.uint8(3)
        codes = codes.reshape(n_rows, n_blocks, _NV_BLOCK) ^ signs[..., None]
        shape = n_rows, n_blocks // _NV_BLOCKS, -1
        numbers = _halved(codes, n_blocks).reshape(shape)
        return np.concatenate([(scales & _E4M3_NAN).reshape(shape), numbers], -1).reshape(n_rows, -1)


def _halved(codes: Bytes, n_blocks: int) -> Bytes:
    """Return two numbers in a byte: of each block the first half's in the lower bits, the second half's above."""
    halves = codes.reshape(len(codes), n_blocks, 2, -1)
    return halves[:, :, 0] | halves[:, :, 1] << np.uint8(4)


def _refuse_nan(scale: Tensor, wrong_places: NDArray[np.bool_]) -> None:
    if wrong_places.any():
        raise UserError(f"tensor {scale.name} in {scale.path} holds NaN; download the checkpoint again")
