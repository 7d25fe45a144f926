"""Read the tensors of the GGUF file in chunks of rows, in the checkpoint's types."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.base.errors import UserError
from quant.convert.families.planned import From
from quant.convert.families.ternary import ternary, ternary_scale
from quant.convert.job import Job
from quant.convert.safetensors_file import Tensor
from quant.convert.stored.kept import as_blocks
from quant.gguf_io.floats import convert_floats, first_not_finite

# Reordered rows are read as one span of the checkpoint if it is at most this many times as long as they are.
_MAX_SPAN = 2
_SHORTEST = np.float32(1e-12)  # length by which rows are divided. Source: torch.nn.functional.normalize


def row_length(job: Job) -> int:
    """Return the number of values in a row; a vector's rows have one value."""
    return job.planned.row_length


def n_rows(job: Job) -> int:
    """Return the number of rows; for a vector, of values."""
    return job.planned.n_elements // max(1, row_length(job))


def row_chunks(job: Job, n_elements: int) -> Iterator[tuple[int, int]]:
    """Yield the first and last row of chunks of about `n_elements`: whole rows, whole heads if rows are reordered.

    A matrix that is transposed in the checkpoint is one chunk.
    """
    rows = n_rows(job)
    unit = max(1, job.planned.order.unit(rows)) if job.planned.order else 1
    step = max(unit, n_elements // max(1, row_length(job)) // unit * unit)
    if job.planned.transposed:
        step = max(1, rows // job.planned.n_matrices)
    for first in range(0, rows, step):
        yield first, min(first + step, rows)


def read_chunk(job: Job, first: int, last: int) -> NDArray[Any]:
    """Read rows `first` up to `last`: flat float32 or float16, or uint16 for bfloat16's bits.

    Where values are changed, bfloat16 ones are returned as float32.

    Raises:
        UserError: a value is NaN or infinite, or cannot be read.
    """
    planned, values = job.planned, _rows(job, first, last)
    if planned.columns is not None:
        places = planned.columns.source_rows(0, row_length(job), row_length(job))
        values = np.ascontiguousarray(values.reshape(-1, row_length(job))[:, places]).reshape(-1)
    if (place := first_not_finite(values, job.dtype)) is not None:
        raise _not_finite(job, source_of(job, first + place // row_length(job)), values[place : place + 1])
    return _changed(values, job, first) if planned.is_changed else values


def read_blocks(job: Job, first: int, last: int) -> NDArray[np.uint8]:
    """Read rows `first` up to `last` of a matrix that is stored in blocks of one of ggml's types, as these.

    Raises:
        UserError: a scale is NaN, or cannot be read.
    """
    return _rows(as_blocks(job), first, last)


def source_of(job: Job, row: int) -> Tensor:
    """Return the checkpoint's tensor that a row is in."""
    return job.sources[row * len(job.sources) // n_rows(job)]


def _not_finite(job: Job, source: Tensor, value: NDArray[Any]) -> UserError:
    """Return the error for a value that is no number."""
    is_nan = np.isnan(convert_floats(value, job.dtype, "F32"))[0]
    return UserError(
        f"tensor {source.name} in {source.path} holds {'NaN' if is_nan else 'an infinite value'}, "
        "and llama.cpp would generate nonsense; download the checkpoint again, or use one from before it diverged"
    )


def chunk_type(job: Job) -> str:
    """Return the type of the chunks: the checkpoint's, or F32 for BF16 whose values are changed."""
    return "F32" if job.planned.is_changed and job.dtype != "F16" else job.dtype


def _rows(job: Job, first: int, last: int) -> NDArray[Any]:
    if job.planned.stacked:
        return _stacked(job, first, last)
    if job.planned.transposed:
        return _transposed(job, first, last)
    return _ordered(job, first, last)


def _stacked(job: Job, first: int, last: int) -> NDArray[Any]:
    """Read rows of tensors that follow each other, all of which have as many."""
    length, each = row_length(job), n_rows(job) // len(job.sources)
    parts = []
    for place in range(first // each, -(-last // each)):
        begin, end = max(first - place * each, 0), min(last - place * each, each)
        parts.append(_run(job.sources[place], begin, end, length))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _transposed(job: Job, first: int, last: int) -> NDArray[Any]:
    """Read rows of one matrix that are columns in the checkpoint."""
    (source,) = job.sources
    length, n_columns = row_length(job), source.shape[-1]
    order = job.planned.order
    if order is None:
        rows, matrix = np.arange(first, last), first * job.planned.n_matrices // n_rows(job)
    else:
        rows = order.source_rows(first, last, n_rows(job))
        matrix = int(rows[0]) // n_columns
    # In the checkpoint there may be further rows beside those of this matrix.
    begin = matrix * (source.n_elements // n_columns // job.planned.n_matrices)
    values = _run(source, begin, begin + length, n_columns).reshape(length, n_columns)
    return np.ascontiguousarray(values[:, rows % n_columns].T).reshape(-1)


def _ordered(job: Job, first: int, last: int) -> NDArray[Any]:
    (source,) = job.sources
    length = row_length(job)
    order = job.planned.order
    if job.planned.padded:
        return _padded(source, first * length, (last - first) * length)
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


def _padded(source: Tensor, first: int, count: int) -> NDArray[Any]:
    """Read values, with zeros in place of those beyond the last."""
    there = max(0, min(count, source.n_elements - first))
    values = source.read(min(first, source.n_elements), there)
    return np.concatenate([values, np.zeros(count - there, values.dtype)])


def _run(source: Tensor, begin: int, end: int, length: int) -> NDArray[Any]:
    return source.read(begin * length, (end - begin) * length)


def _runs(rows: NDArray[np.intp]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows that are consecutive in the checkpoint."""
    breaks = np.flatnonzero(np.diff(rows) != 1) + 1
    for run in np.split(rows, breaks):
        yield int(run[0]), int(run[-1]) + 1


@lru_cache(maxsize=4)
def _scale_of(source: Tensor) -> np.float32:
    """Read a whole tensor for the scale of its three values."""
    return ternary_scale(convert_floats(source.read(0, source.n_elements), source.read_dtype, "F32"))


def _changed(values: NDArray[Any], job: Job, first: int) -> NDArray[Any]:
    """Return the values with what the family adds, multiplies and divides by, or their negative powers of e.

    Each step is computed in float32 and rounded, as torch does; what is added has the type of the values.
    """
    planned, kind = job.planned, np.dtype(np.float16 if job.dtype == "F16" else np.float32)
    if job.dtype == "BF16":
        values = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):  # numpy warns about signalling NaNs
        if planned.offset:
            values = values + values.dtype.type(planned.offset)
        if planned.scale != 1.0:
            values = (values.astype(np.float32) * np.float32(planned.scale)).astype(kind)
        if planned.unit_rows:
            rows = values.astype(np.float32).reshape(-1, row_length(job))
            lengths = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
            values = (rows / np.maximum(lengths, _SHORTEST)).astype(kind).reshape(-1)
        if planned.bands:
            factors = _band_factors(planned.bands, first, values.size // row_length(job))
            rows = values.astype(np.float32).reshape(-1, row_length(job)) * factors[:, np.newaxis]
            values = rows.astype(kind).reshape(-1)
        if planned.ternary:
            values = ternary(values.astype(np.float32), _scale_of(job.sources[0])).astype(kind)
        if planned.is_log:
            values = -np.exp(values.astype(np.float64)).astype(np.float32).astype(kind)
    return values


def _band_factors(bands: tuple[tuple[int, float], ...], first: int, n_rows: int) -> NDArray[np.float32]:
    """Return the factor of each row from `first` on."""
    bounds = np.array([end for end, _ in bands])
    factors = np.array([factor for _, factor in bands], dtype=np.float32)
    found: NDArray[np.float32] = factors[np.searchsorted(bounds, np.arange(first, first + n_rows), side="right")]
    return found
