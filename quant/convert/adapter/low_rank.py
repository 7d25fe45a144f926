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

    def rows(self, first: int, last: int) -> F32:
        """Return what is added to the rows from `first` up to `last`, in float32.

        The factors are read each time: kept, those of all matrices would take more memory than the weights' chunks.
        """
        rank, n_in = self.a.shape
        if self.transposed:
            columns = [_as_f32(self.a, each * n_in + first, last - first) for each in range(rank)]
            product = _product(np.stack(columns, axis=1), _whole(self.b).T)
        else:
            product = _product(_as_f32(self.b, first * rank, (last - first) * rank).reshape(-1, rank), _whole(self.a))
        product *= np.float32(self.scale)
        return product


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
        row, last = first // width, -(-(first + count) // width)
        with np.errstate(over="ignore", invalid="ignore"):
            added = self.added.rows(row, last).reshape(-1)[first - row * width :][:count]
            if not np.isfinite(added).all():
                source = self.added.a.path
                raise UserError(f"{source} adds NaN or infinite values to {self.name}; download the adapter again")
            return values + added  # what is not finite now is refused by its name


def merged(base: Tensor, added: LowRank | None) -> MergedTensor:
    """Return a tensor of the base model with what an adapter adds to it."""
    return MergedTensor(base.name, base.dtype, base.shape, base.path, base.offset, base=base, added=added)


def _product(left: F32, right: F32) -> F32:
    """Multiply in blocks."""
    rank, n_columns = right.shape
    made = np.empty((len(left), n_columns), np.float32)
    width = max(1, _ONE_THREAD // (_BLOCK_ROWS * rank))
    for row in range(0, len(left), _BLOCK_ROWS):
        rows = slice(row, row + _BLOCK_ROWS)
        for column in range(0, n_columns, width):
            columns = slice(column, column + width)
            np.matmul(left[rows], right[:, columns], out=made[rows, columns])
    return made


def _whole(tensor: Tensor) -> F32:
    return _as_f32(tensor, 0, tensor.n_elements).reshape(tensor.shape)


def _as_f32(tensor: Tensor, first: int, count: int) -> F32:
    found: F32 = convert_floats(tensor.read(first, count), tensor.read_dtype, "F32")
    return found
