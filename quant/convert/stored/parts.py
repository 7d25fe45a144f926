"""The tensors of a checkpoint from which quantized weights are put together, and the weights as ordinary tensors.

What a method's module takes from here was checked: it is there, of its type and of its shape.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.base.text import one_line
from quant.convert.pickled.strided import StridedTensor
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32

Settings = Mapping[str, Any]  # of quantization_config; untrusted
Shape = Sequence[int | None]  # None is any size
_CHARS = 120
# Scales of activations and of the KV cache: llama.cpp computes with neither.
# Source: dequant_model and _generate_nvfp4_tensors in conversion/base.py of the pinned llama.cpp.
_OF_ACTIVATIONS = (
    *(".activation_scale", "_activation_scale", ".input_scale", ".input_global_scale", ".input_zero_point"),
    *(".output_scale", ".output_zero_point", ".k_scale", ".v_scale", ".q_scale", ".k_zero_point", ".v_zero_point"),
)


class Weight(Protocol):
    """A weight that is stored quantized."""

    @property
    def part(self) -> Tensor:
        """The tensor that holds its numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape, as an unquantized checkpoint has it; at least two dimensions."""

    def rows(self, first: int, last: int) -> F32:
        """Return the rows from `first` up to `last`, dequantized; a row is what follows along the last dimension.

        Raises:
            UserError: the file ended early, or its numbers contradict themselves.
        """


@dataclass(frozen=True)
class StoredTensor(Tensor):
    """A quantized weight as a tensor that is read in float32."""

    weight: Weight

    @property
    def is_plain(self) -> bool:
        """Whether its values are converted: they are float32 when they are read."""
        return True

    @property
    def read_dtype(self) -> str:
        """The type that `read` returns."""
        return "F32"

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first`, dequantized."""
        if not count:
            return np.empty(0, np.float32)
        width = self.shape[-1]
        row, last = first // width, -(-(first + count) // width)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused later
            return self.weight.rows(row, last).reshape(-1)[first - row * width :][:count]


def stored_tensor(name: str, weight: Weight) -> StoredTensor:
    """Return a weight as a tensor of a name."""
    return StoredTensor(name, "F32", weight.shape, weight.part.path, weight.part.offset, weight=weight)


class Parts:
    """A checkpoint's tensors, and which of them belong to quantized weights."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self.used = {name for name in tensors if name.endswith(_OF_ACTIVATIONS)}

    def names(self, suffix: str) -> list[str]:
        """Return what stands before a suffix, of all tensors that have it and belong to no weight yet, in order."""
        return [name.removesuffix(suffix) for name in self.tensors if name.endswith(suffix) and name not in self.used]

    def take(self, name: str, types: Sequence[str], shape: Shape | None = None) -> Tensor:
        """Return a tensor that belongs to a quantized weight.

        Args:
            types: one of which it has.
            shape: which it has; None is any.

        Raises:
            UserError: it is missing, or another.
        """
        tensor = self.tensors.get(name)
        if tensor is None:
            raise UserError(f"the checkpoint lacks {one_line(name, _CHARS)}, a part of a quantized weight; {_AGAIN}")
        if tensor.dtype not in types:
            raise wrong(tensor, f"is {tensor.dtype}, not {' or '.join(types)}")
        if isinstance(tensor, StridedTensor):
            raise wrong(tensor, "is stored with strides, which are not read for quantized weights")
        if shape is not None and not _fits(tensor.shape, shape):
            expected = ", ".join("?" if n is None else str(n) for n in shape)
            raise wrong(tensor, f"is {list(tensor.shape)}, not [{expected}]")
        if not tensor.n_elements:
            raise wrong(tensor, f"is empty: {list(tensor.shape)}")
        self.used.add(name)
        return tensor

    def take_if_there(self, name: str, types: Sequence[str], shape: Shape | None = None) -> Tensor | None:
        """Return a tensor as `take` does; None if it is missing."""
        return self.take(name, types, shape) if name in self.tensors else None


_AGAIN = "download the checkpoint again, or the one that it was made from"


def wrong(tensor: Tensor, what: str) -> UserError:
    """Return the error for a part that does not fit."""
    return UserError(f"tensor {one_line(tensor.name, _CHARS)} in {tensor.path} {what}; {_AGAIN}")


def unread(what: str) -> UserError:
    """Return the error for a form of a method that is not read."""
    return UserError(
        f"weights stored as {one_line(what, _CHARS)} are not read; download the checkpoint that they were made from"
    )


def matrix(tensor: Tensor) -> Tensor:
    """Return a tensor of at least two dimensions.

    Raises:
        UserError: it has fewer.
    """
    if len(tensor.shape) > 1:
        return tensor
    raise wrong(tensor, f"is {list(tensor.shape)}, which is no matrix")


def whole_number(settings: Settings, key: str, allowed: Sequence[int] | None = None) -> int:
    """Return a positive whole number of the settings.

    Raises:
        UserError: it is none, or none of those allowed.
    """
    found = settings.get(key)
    if type(found) is int and found > 0 and (allowed is None or found in allowed):
        return found
    expected = f"one of {', '.join(map(str, allowed))}" if allowed else "a positive whole number"
    raise UserError(
        f"quantization_config in config.json has {key} = {one_line(repr(found), _CHARS)}, not {expected}; {_AGAIN}"
    )


def n_rows(shape: Sequence[int]) -> int:
    """Return the number of rows: the product of all dimensions but the last."""
    return math.prod(shape[:-1])


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    return len(shape) == len(wanted) and all(expected in (None, n) for n, expected in zip(shape, wanted, strict=True))
