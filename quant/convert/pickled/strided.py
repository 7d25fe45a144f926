"""Tensors whose elements are not in a row: a transposed matrix, a part of a wider one."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.safetensors_file import BITS, Tensor


@dataclass(frozen=True)
class StridedTensor(Tensor):
    """A tensor's place in a file where its elements are `strides` apart in it; it is read in runs."""

    strides: tuple[int, ...]

    @property
    def is_plain(self) -> bool:
        """Whether its type is one that is converted, and no element is there twice."""
        return super().is_plain and not self._repeats

    @property
    def _repeats(self) -> bool:
        """Whether a value stands for several elements, or there is no run: each element would be read alone."""
        used = sorted((stride, n) for stride, n in zip(self.strides, self.shape, strict=True) if n > 1)
        overlap = any(stride < below * n for (below, n), (stride, _) in pairwise(used))
        return bool(used) and (used[0][0] != 1 or overlap)

    def refusal(self) -> UserError:
        """Return the error for a tensor that is not converted."""
        if not super().is_plain:
            return super().refusal()
        return UserError(
            f"tensor {self.name[:200]} in {self.path} has the strides {list(self.strides)}, so that its elements "
            "are not all stored side by side; save the model again with transformers' save_pretrained"
        )

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first`, as in the whole tensor."""
        if not self.is_plain:
            raise self.refusal()
        if not count:
            return super().read(0, 0)
        inner = math.prod(self.shape[1:])
        row, last = first // inner, -(-(first + count) // inner)
        box = self._box(row, (last - row, *self.shape[1:]))
        return box.reshape(-1)[first - row * inner :][:count]

    def _box(self, row: int, shape: tuple[int, ...]) -> NDArray[Any]:
        """Read some rows: along the dimension whose elements follow each other, a run for each place in the others."""
        along = next(axis for axis, stride in enumerate(self.strides) if stride == 1 and self.shape[axis] > 1)
        start = row * self.strides[0]
        others = tuple(1 if axis == along else n for axis, n in enumerate(shape))
        runs = [
            super(StridedTensor, self).read(
                start + sum(at * stride for at, stride in zip(place, self.strides, strict=True)), shape[along]
            )
            for place in np.ndindex(others)
        ]
        return np.moveaxis(np.stack(runs).reshape(*shape[:along], *shape[along + 1 :], shape[along]), -1, along)


def is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Return whether a tensor's elements are in a row in their order; empty and single dimensions have any stride."""
    expected = 1
    for n, stride in reversed(list(zip(shape, strides, strict=True))):
        if n > 1 and stride != expected:
            return False
        expected *= n
    return True


def bytes_of(dtype: str, n_elements: int) -> int:
    """Return how many bytes elements of a type take; all types of torch.save have whole bytes."""
    return BITS[dtype] // 8 * n_elements
