"""Rows and columns that come in another order, zeros for rows that are missing, and logarithms."""

import json
from pathlib import Path

import numpy as np
import pytest

from quant.convert.families.planned import Order, Parts, Planned, Tiled
from quant.convert.job import Job
from quant.convert.row_chunks import chunk_type, n_rows, read_chunk, row_chunks
from quant.convert.safetensors_file import Tensor, read_header

GROUPS, PER_GROUP, SIZE, COLUMNS = 3, 2, 4, 5


def _stored(folder: Path, values: np.ndarray, kind: str = "F32") -> Tensor:
    data = values.tobytes()
    header = json.dumps({"w": {"dtype": kind, "shape": list(values.shape), "data_offsets": [0, len(data)]}}).encode()
    path = folder / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + data)
    (tensor,) = read_header(path)
    return tensor


def _read(planned: Planned, source: Tensor, n_elements: int = 1 << 20) -> np.ndarray:
    job = Job(planned, (source,))
    chunks = [read_chunk(job, first, last) for first, last in row_chunks(job, n_elements)]
    assert n_rows(job) == row_chunks_end(job, n_elements)
    return np.concatenate(chunks).reshape(planned.shape)


def row_chunks_end(job: Job, n_elements: int) -> int:
    return list(row_chunks(job, n_elements))[-1][1]


def _planned(shape: tuple[int, ...], **more: object) -> Planned:
    return Planned(name="w", shape=shape, target="w.weight", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("n_elements", [1 << 20, 8 * COLUMNS])
def test_tiled_heads_are_the_transposed_groups_behind_the_first_rows(tmp_path, n_elements):
    kept, n_tiled = 6, GROUPS * PER_GROUP * SIZE
    values = np.arange((kept + n_tiled) * COLUMNS, dtype=np.float32).reshape(-1, COLUMNS)
    tiled = values[kept:].reshape(GROUPS, PER_GROUP, SIZE, COLUMNS).swapaxes(0, 1).reshape(-1, COLUMNS)
    planned = _planned(values.shape, order=Tiled(GROUPS, PER_GROUP, SIZE, first_row=kept))
    found = _read(planned, _stored(tmp_path, values), n_elements)
    assert np.array_equal(found, np.concatenate([values[:kept], tiled]))


def test_columns_are_tiled_in_each_row(tmp_path):
    values = np.arange(3 * GROUPS * PER_GROUP * SIZE, dtype=np.float32).reshape(3, -1)
    expected = values.reshape(3, GROUPS, PER_GROUP, SIZE).swapaxes(1, 2).reshape(3, -1)
    planned = _planned(values.shape, columns=Tiled(GROUPS, PER_GROUP, SIZE))
    assert np.array_equal(_read(planned, _stored(tmp_path, values)), expected)


@pytest.mark.parametrize("taken", [(0, 1, 2), (3,), (2, 0)])
def test_parts_of_all_groups_are_consecutive(tmp_path, taken):
    widths = (1, 1, 4, 2)
    values = np.arange(GROUPS * sum(widths) * COLUMNS, dtype=np.float32).reshape(GROUPS, sum(widths), COLUMNS)
    ends = np.cumsum(widths)
    parts = [values[:, ends[part] - widths[part] : ends[part]].reshape(-1, COLUMNS) for part in taken]
    order: Order = Parts(GROUPS, widths, taken)
    expected = np.concatenate(parts)
    stored = _stored(tmp_path, values.reshape(-1, COLUMNS))
    assert np.array_equal(_read(_planned(expected.shape, order=order), stored, 2 * COLUMNS), expected)


@pytest.mark.parametrize(("n_stored", "n_wanted"), [(3, 5), (4, 4), (5, 3)])
def test_missing_rows_are_zeros(tmp_path, n_stored, n_wanted):
    values = np.arange(1, n_stored * COLUMNS + 1, dtype=np.float32).reshape(n_stored, COLUMNS)
    planned = _planned((n_wanted, COLUMNS), source_shape=values.shape, padded=True)
    expected = np.zeros((n_wanted, COLUMNS), np.float32)
    expected[: min(n_stored, n_wanted)] = values[:n_wanted]
    assert np.array_equal(_read(planned, _stored(tmp_path, values), 2 * COLUMNS), expected)


@pytest.mark.parametrize(("kind", "chunks"), [("F32", "F32"), ("F16", "F16"), ("BF16", "F32")])
def test_logarithms_become_negative_powers(tmp_path, kind, chunks):
    values = np.array([0.0, 1.0, -2.0], np.float32)
    stored = values.astype(np.float16) if kind == "F16" else values
    if kind == "BF16":
        stored = (values.view(np.uint32) >> 16).astype(np.uint16)
    source = _stored(tmp_path, stored, kind)
    planned = _planned((3,), is_log=True)
    assert chunk_type(Job(planned, (source,))) == chunks
    found = _read(planned, source)
    assert found.dtype == (np.float16 if kind == "F16" else np.float32)
    assert found == pytest.approx(-np.exp(values), rel=1e-3)
