"""Matrices that are read as the sum of a base model's and an adapter's."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.safetensors_file import Tensor
from quant.gguf_io.floats import convert_floats

F32 = NDArray[np.float32]
# Up to as many multiplications OpenBLAS uses one thread. With more its threads wait for each other, and for those in
# which chunks are read: three times the time. Source: interface/gemm.c of OpenBLAS 0.3, SMP_THRESHOLD_MIN.
_ONE_THREAD = 1 << 18
_BLOCK_ROWS = 16
_F32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class LowRank:
    """What is added to a matrix: scale x B A, or its transpose."""

    a: Tensor  # (rank, n_in)
    b: Tensor  # (n_out, rank)
    scale: float
    transposed: bool  # the matrix has its inputs first, as Conv1D and embeddings do

    @property
    def shape(self) -> tuple[int, int]:
        """The shape of the matrix."""
        made = (self.b.shape[0], self.a.shape[1])
        return made[::-1] if self.transposed else made

    def added_to(self, values: F32, first: int) -> bool:
        """Add to the values of some rows from `first` on, in place; return whether all that is added is finite.

        Products and sums are in float64, so that each value is rounded once and no order of a sum, which depends on the
        CPU, is seen in it. The factors are read each time: kept, those of all matrices would take more memory than the
        weights' chunks.
        """
        (rank, n_in), count = self.a.shape, len(values)
        if self.transposed:
            columns = [_as_f32(self.a, each * n_in + first, count) for each in range(rank)]
            left, right = np.stack(columns, axis=1), _whole(self.b).T
        else:
            left, right = _as_f32(self.b, first * rank, count * rank).reshape(-1, rank), _whole(self.a)
        left_f64 = left.astype(np.float64)
        width = max(1, _ONE_THREAD // (_BLOCK_ROWS * rank))
        is_finite = True
        for column in range(0, values.shape[1], width):
            right_f64 = right[:, column : column + width].astype(np.float64)
            for row in range(0, count, _BLOCK_ROWS):
                block = values[row : row + _BLOCK_ROWS, column : column + width]
                product = left_f64[row : row + _BLOCK_ROWS] @ right_f64
                product *= self.scale
                is_finite = is_finite and bool(np.abs(product).max() <= _F32_MAX)  # of NaN it is not
                product += block
                block[:] = product
        return is_finite


@dataclass(frozen=True)
class MergedTensor(Tensor):
    """A tensor of the base model that is read as float32, with what an adapter adds; its type is the base's."""

    base: Tensor
    added: LowRank | None  # None: it goes into one matrix with others that are changed

    @property
    def is_plain(self) -> bool:
        """Whether the base's type is one that is converted."""
        return self.base.is_plain

    @property
    def read_dtype(self) -> str:
        """The type that `read` returns."""
        return "F32"

    def refusal(self) -> UserError:
        """Return the error for a type that is not converted."""
        return self.base.refusal()

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Read `count` elements from `first` of the sum."""
        values = _as_f32(self.base, first, count)
        if self.added is None:
            return values
        width = max(1, math.prod(self.shape[1:]))
        row, before = divmod(first, width)
        after = -(before + count) % width
        whole = np.pad(values, (before, after)).reshape(-1, width)
        with np.errstate(over="ignore", invalid="ignore"):
            is_finite = self.added.added_to(whole, row)
        if not is_finite:
            raise UserError(
                f"{self.added.a.path} adds NaN or infinite values to {self.name}; download the adapter again"
            )
        # What is not finite now is refused by its name.
        return whole.reshape(-1)[before : before + count]


def merged(base: Tensor, added: LowRank | None) -> MergedTensor:
    """Return a tensor of the base model with what an adapter adds to it."""
    return MergedTensor(base.name, base.dtype, base.shape, base.path, base.offset, base=base, added=added)


def _whole(tensor: Tensor) -> F32:
    return _as_f32(tensor, 0, tensor.n_elements).reshape(tensor.shape)


def _as_f32(tensor: Tensor, first: int, count: int) -> F32:
    found: F32 = convert_floats(tensor.read(first, count), tensor.read_dtype, "F32")
    return found
