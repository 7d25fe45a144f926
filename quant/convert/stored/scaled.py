"""Numbers with a scale for each block of them: per tensor, per row, per group in a row, per square."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant.convert.safetensors_file import Tensor
from quant.convert.stored.floats import F32, as_f32
from quant.convert.stored.parts import wrong


@dataclass(frozen=True)
class Grid:
    """Numbers of which each belongs to a block of a weight: scales or zero points."""

    part: Tensor
    shape: tuple[int, ...]  # of the weight
    blocks: tuple[int, ...]  # of how many elements, in each dimension

    def rows(self, first: int, last: int) -> F32:
        """Return the numbers of the weight's rows, in a form that is broadcast over them."""
        counts = [-(-n // block) for n, block in zip(self.shape, self.blocks, strict=True)]
        place, rest, stride = np.zeros(last - first, np.intp), np.arange(first, last), 1
        for n, block, count in reversed(list(zip(self.shape, self.blocks, counts, strict=True))[:-1]):
            rest, inner = np.divmod(rest, n)
            place += inner // block * stride
            stride *= count
        low, high, width = int(place.min()), int(place.max()) + 1, counts[-1]
        found = as_f32(self.part, low * width, (high - low) * width).reshape(-1, width)
        if 1 < width < self.shape[-1]:
            found = np.repeat(found, self.blocks[-1], axis=1)[:, : self.shape[-1]]
        return found if high - low == 1 else found[place - low]


def grid(part: Tensor, shape: tuple[int, ...], blocks: Sequence[int] | None = None) -> Grid:
    """Return the numbers of a weight's blocks.

    Args:
        blocks: the sizes in the last dimensions; those before have a number for each of their elements. None: each
            dimension has one number, or one for each element; one in the last dimensions that are not there.

    Raises:
        UserError: there are more numbers, or fewer.
    """
    if blocks is None:
        found = part.shape + (1,) * (len(shape) - len(part.shape))
        if len(found) != len(shape) or any(n not in (1, size) for n, size in zip(found, shape, strict=True)):
            raise wrong(part, f"is {list(part.shape)}, which is no scale per tensor or row of {list(shape)}")
        return Grid(part, shape, tuple(1 if n == size else size for n, size in zip(found, shape, strict=True)))
    n_before = max(0, len(shape) - len(blocks))
    # A block is not longer than its dimension, however long the settings say it is.
    sizes = (1,) * n_before + tuple(min(block, n) for block, n in zip(blocks, shape[n_before:], strict=False))
    counts = tuple(-(-n // size) for n, size in zip(shape, sizes, strict=False))
    if part.shape != counts or len(sizes) != len(shape):
        raise wrong(part, f"is {list(part.shape)}, not {list(counts)}: one for each {list(blocks)} of {list(shape)}")
    return Grid(part, shape, sizes)


@dataclass(frozen=True)
class Scaled:
    """A weight whose stored numbers are multiplied by scales, after zero points are subtracted.

    Source: dequant_simple in conversion/base.py of the pinned llama.cpp; zero points: dequantize in
    compressed_tensors/quantization/lifecycle/forward.py.
    """

    part: Tensor
    scale: Grid
    zero: Grid | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the stored numbers."""
        return self.part.shape

    def rows(self, first: int, last: int) -> F32:
        """Return rows, dequantized."""
        width = self.shape[-1]
        made = as_f32(self.part, first * width, (last - first) * width).reshape(-1, width)
        if self.zero is not None:
            made -= self.zero.rows(first, last)
        made *= self.scale.rows(first, last)
        return made
