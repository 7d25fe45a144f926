"""A worker with the real engine reads beside the times what its job asks for."""

import struct
import sys
from pathlib import Path

import pytest

from profiler.measure.launch import run_worker
from profiler.measure.worker import Answer, Job
from profiler.records.round import Sample
from profiler.sweep.grid import Axes, expand
from quant.gguf_io.header import open_gguf_header
from tests.support.ggufs import tiny_gguf


def answer(path: Path, *, energy: bool) -> Answer:
    (cell,) = expand(Axes(threads=(1,), prompt=(4,), gen=(3,), repack=(False,)), ["f" * 64])
    found = run_worker(Job(path=str(path), config=cell.config, reps=2, seed=0, energy=energy), timeout_s=60)
    assert found.measured is not None, found.failure
    return found


def samples(found: Answer) -> tuple[Sample, ...]:
    assert found.measured is not None
    return found.measured.samples


def test_energy_is_read_around_decode_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    assert [sample.decode_energy for sample in samples(answer(path, energy=False))] == [None, None]
    for sample in samples(answer(path, energy=True)):
        assert sample.decode_energy is not None
        took_ns = sample.decode_energy.after.at_ns - sample.decode_energy.before.at_ns
        assert took_ns >= sum(sample.decode_ns) > 0


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells which pages are resident")
@pytest.mark.parametrize("energy", [False, True])
def test_the_pages_of_the_models_own_file_are_counted(tmp_path: Path, energy: bool) -> None:
    found = answer(tiny_gguf(tmp_path / "tiny.gguf"), energy=energy)
    assert found.measured is not None
    assert (found.measured.memory["decoded"].mapped_bytes or 0) > 0
    assert found.start_ns is not None


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_file_whose_weights_are_no_numbers_fails(tmp_path: Path, value: float) -> None:
    path = tiny_gguf(tmp_path / "tiny.gguf")
    tensor = next(each for each in open_gguf_header(path).tensors if each.name == "output_norm.weight")
    assert tensor.type.name == "f32"
    with path.open("r+b") as file:
        file.seek(tensor.offset)
        file.write(struct.pack("<f", value))
    (cell,) = expand(Axes(threads=(1,), prompt=(4,), gen=(3,), repack=(False,)), ["f" * 64])
    found = run_worker(Job(path=str(path), config=cell.config, reps=1, seed=0), timeout_s=60)
    assert found.failure is not None
    assert found.failure.kind == "values"
    assert "NaN" in found.failure.message
