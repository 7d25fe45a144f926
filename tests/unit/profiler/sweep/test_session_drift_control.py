"""What a session passes to its sweep: drift control on or off, its earlier rounds, and which rounds are trusted."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from profiler.results.file import read_results
from profiler.sweep.grid import Axes
from profiler.sweep.plan import Options
from profiler.sweep.session import Request, run_session
from profiler.sweep.sweep import Outcome
from profiler.sweep.tools import Tools
from quant.sources.prepare import Prepared, PrepareOptions
from tests.support.cells import artifact
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import Seen
from tests.support.throttling import Device


def session(folder: Path, device: Device, monkeypatch: pytest.MonkeyPatch, **options: object) -> Outcome:
    (folder / "tiny.gguf").touch()
    monkeypatch.setattr("profiler.sweep.session.probe_backend", SimpleNamespace)
    monkeypatch.setattr("profiler.measure.repack_probe.repacking_works", lambda: True)
    monkeypatch.setattr("profiler.sweep.session.read_environment", lambda _: ENVIRONMENT)
    monkeypatch.setattr("profiler.sweep.session.available_memory_bytes", lambda: 8 << 30)
    monkeypatch.setattr("profiler.sweep.session.run_worker", lambda job, timeout_s: device.run(job))
    monkeypatch.setattr("profiler.sweep.session.Tools", partial(Tools, sleep=device.sleep))
    monkeypatch.setattr("profiler.results.file.os.fsync", lambda _: None)
    request = Request(
        sources=(str(folder / "tiny.gguf"),),
        prepare_options=PrepareOptions(levels=None, models_dir=folder),
        axes=Axes(prompt=(6,), gen=(4,), threads=(1,), n_ctx=tuple(range(64, 78))),
        options=Options(rounds=3, reps=1, **options),  # type: ignore[arg-type]
        results=folder / "results.jsonl",
    )
    files = [Prepared(artifact=artifact(), path=folder / "tiny.gguf")]
    return run_session(request, files=lambda: files, view=Seen())


def test_a_session_goes_on_from_its_reference_cell_and_measures_what_is_suspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 42 turns: two runs open it, and one is at the end of every second round and of the last.
    hot = Device(hot_at=2 + 14 + 14 + 1, cool_after_s=None)
    assert session(tmp_path, hot, monkeypatch, drift_control=True).n_ok == 42
    first = read_results([tmp_path / "results.jsonl"])
    assert {record.round for record in first.rounds if record.doubt is not None} == {2}
    n_anchors = len(first.anchors)
    cool = Device()
    assert session(tmp_path, cool, monkeypatch, drift_control=True).n_ok == 14
    second = read_results([tmp_path / "results.jsonl"])
    assert all(record.doubt is None for record in second.rounds)
    assert len(second.rounds) == 42
    # Its level is the first run's, so it is not opened by two runs again; 14 turns are too few for more.
    assert len(second.anchors) == n_anchors
    orders = [record.order for record in [*second.rounds, *second.anchors]]
    assert len(orders) == len(set(orders))


def test_drift_control_can_be_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert session(tmp_path, Device(), monkeypatch).n_ok == 42
    assert read_results([tmp_path / "results.jsonl"]).anchors == []
