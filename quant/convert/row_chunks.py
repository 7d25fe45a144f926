"""Tensors of the file to be, a piece of rows at a time, in the type they have in the checkpoint."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.convert.checkpoint import Tensor
from quant.convert.families.planned import From
from quant.convert.layout import Job

# Rows of a piece that are taken from a wider span of the checkpoint: the span is read whole while it is at most this
# many times as long.
_MAX_SPAN = 2


def row_length(job: Job) -> int:
    """Give the values of one row; a vector's rows have one value."""
    return job.planned.shape[-1] if len(job.planned.shape) > 1 else 1


def n_rows(job: Job) -> int:
    """Give the number of rows: of a vector, of values."""
    return job.planned.n_elements // max(1, row_length(job))


def pieces(job: Job, n_elements: int) -> Iterator[tuple[int, int]]:
    """Cut a tensor into pieces of about so many values: whole rows, whole heads where rows are reordered."""
    rows = n_rows(job)
    unit = max(1, job.planned.order.unit(rows)) if job.planned.order else 1
    step = max(unit, n_elements // max(1, row_length(job)) // unit * unit)
    if job.planned.transposed or job.planned.stacked:
        step = max(1, rows)
    for first in range(0, rows, step):
        yield first, min(first + step, rows)


def read_piece(job: Job, first: int, last: int) -> NDArray[Any]:
    """Read rows `first` up to `last`: flat float32 or float16, or uint16 for bfloat16's bits.

    Values that something is added to come as float32, from float16 as float16.
    """
    planned = job.planned
    if planned.stacked:
        values = np.concatenate([source.read(0, source.n_elements) for source in job.sources])
    elif planned.transposed:
        (source,) = job.sources
        values = source.read(0, source.n_elements).reshape(source.shape)[:, first:last].T.reshape(-1)
    else:
        values = _ordered(job, first, last)
    if planned.plus:
        return _added(values, job.dtype, planned.plus)
    return values


def piece_type(job: Job) -> str:
    """Give the type in which pieces come: the checkpoint's, unless something is added to the values."""
    return "F32" if job.planned.plus and job.dtype != "F16" else job.dtype


def _ordered(job: Job, first: int, last: int) -> NDArray[Any]:
    (source,) = job.sources
    length = row_length(job)
    order = job.planned.order
    if order is None:
        return source.read(first * length, (last - first) * length)
    if isinstance(order, From):
        return source.read((order.first_row + first) * length, (last - first) * length)
    rows = order.source_rows(first, last, n_rows(job))
    low, high = int(rows.min()), int(rows.max()) + 1
    if high - low <= _MAX_SPAN * len(rows):
        span = source.read(low * length, (high - low) * length).reshape(-1, length)
        return np.ascontiguousarray(span[rows - low]).reshape(-1)
    return np.concatenate([_run(source, begin, end, length) for begin, end in _runs(rows)])


def _run(source: Tensor, begin: int, end: int, length: int) -> NDArray[Any]:
    return source.read(begin * length, (end - begin) * length)


def _runs(rows: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Give the stretches of rows that follow one another in the checkpoint."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run in np.split(rows, breaks):
        yield int(run[0]), int(run[-1]) + 1


def _added(values: NDArray[Any], dtype: str, plus: float) -> NDArray[Any]:
    if dtype == "BF16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # of a signalling NaN numpy would warn
        added: NDArray[Any] = values + values.dtype.type(plus)
    return added
