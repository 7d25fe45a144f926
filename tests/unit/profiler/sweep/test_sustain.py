"""Sustained loads on a simulated device: what is written, what is found in it, and what a kill leaves."""

import itertools
from pathlib import Path

import pytest

from profiler.analysis.summarise import summarise
from profiler.export.flat import flat
from profiler.measure.loop import MINUTE_NS
from profiler.measure.worker import Answer, Job
from profiler.recommend.choose import recommend
from profiler.recommend.records import Criteria, Limits
from profiler.records.cell_summary import CellSummary
from profiler.records.failure import Failure
from profiler.results.file import read_results
from profiler.sweep.tools import OnMinute
from profiler.tables.sustained import render_minutes, steady_in_words
from quant.base.errors import UserError
from tests.support.cells import cell
from tests.support.rounds import a_round, results, with_cell
from tests.support.sustained import FAST_MHZ, MINUTE_S, SLOW_MHZ, SustainedDevice, sustain, sustained_cell
from tests.support.sweeps import Seen

FILES = ("a" * 64, "b" * 64)


def summary_of(path: Path) -> CellSummary:
    found = read_results([path])
    assert found.warnings == []
    (cell,) = summarise(found)
    return cell


def test_minutes_are_rounds_of_one_process_without_a_gap(tmp_path: Path) -> None:
    view = Seen()
    outcome = sustain(tmp_path / "r.jsonl", SustainedDevice(), view=view)
    assert outcome is not None
    assert (outcome.n_ok, outcome.n_left) == (1, 0)
    assert view.begun == (10, 0)
    rounds = list(read_results([tmp_path / "r.jsonl"]).rounds)
    assert [record.round for record in rounds] == list(range(10))
    assert len({record.order for record in rounds}) == 1
    samples = [(record.round, sample) for record in rounds for sample in record.samples]
    assert samples[0][1].start_ns == 0
    assert all(one.end_ns == other.start_ns for (_, one), (_, other) in itertools.pairwise(samples))
    assert all(minute == (sample.start_ns or 0) // MINUTE_NS for minute, sample in samples)
    assert (samples[-1][1].end_ns or 0) >= 10 * MINUTE_NS
    # Only the first minute has what the process did before it.
    assert [bool(record.memory) for record in rounds] == [True] + [False] * 9
    assert [record.load_ns is not None for record in rounds] == [True] + [False] * 9


def test_a_device_that_throttles_is_found_with_its_steady_state(tmp_path: Path) -> None:
    sustain(tmp_path / "r.jsonl", SustainedDevice(hot_after_s=200, factor=0.75))
    cell = summary_of(tmp_path / "r.jsonl")
    assert cell.sustained is not None
    assert cell.sustained.steady_from_s == 3 * MINUTE_S
    assert cell.sustained.is_steady
    assert cell.decode_tps is not None
    assert (cell.decode_tps.value, cell.rounds) == (pytest.approx(2 * 0.75), 7)
    change = cell.sustained.decode_change
    assert change is not None
    assert (change.value, change.kind) == (pytest.approx(-0.25), "interval")
    assert change.hi == pytest.approx(-0.25)
    assert cell.sustained.prefill_change is not None
    assert cell.sustained.prefill_change.value == 0
    assert (cell.sustained.first.mhz, cell.sustained.steady.mhz) == (FAST_MHZ, SLOW_MHZ)
    assert cell.sustained.steady.throttle == ("throttled",)
    assert cell.flags == ()  # it is what was measured, and no disturbance
    words = steady_in_words(cell)
    assert "steady: 1.50 t/s, 25 % below the first minute" in words
    assert "the clock fell from 2.4 to 1.8 GHz" in words
    assert "from minute 4 of 10 on" in words


def test_power_and_joules_per_request_follow_from_the_counters_around_requests(tmp_path: Path) -> None:
    sustain(tmp_path / "r.jsonl", SustainedDevice(hot_after_s=200, watts=6.0))
    cell = summary_of(tmp_path / "r.jsonl")
    assert cell.sustained is not None
    assert cell.sustained.steady.watts == pytest.approx(6.0)
    step_s = 0.5 / 0.75
    assert cell.energy.joules_per_token == pytest.approx(6.0 * step_s)
    # Six prompt tokens of 10 ms and choosing a token come before the four steps.
    assert cell.energy.joules_per_request == pytest.approx(6.0 * (4 * step_s + 0.06), rel=1e-6)
    assert "6.0 W" in steady_in_words(cell)
    assert flat(cell)["joules_per_request"] == cell.energy.joules_per_request


def test_a_device_that_does_not_throttle_is_steady_from_the_start(tmp_path: Path) -> None:
    sustain(tmp_path / "r.jsonl", SustainedDevice())
    cell = summary_of(tmp_path / "r.jsonl")
    assert cell.sustained is not None
    assert (cell.sustained.steady_from_s, cell.sustained.is_steady, cell.rounds) == (0, True, 10)
    assert cell.sustained.decode_change is not None
    assert cell.sustained.decode_change.value == 0
    assert "a tie with the first minute" in steady_in_words(cell)
    assert "the clock stayed at 2.4 GHz" in steady_in_words(cell)
    table = render_minutes(read_results([tmp_path / "r.jsonl"]), [cell])
    assert table.count("\n| ") == 12  # head, rule, ten minutes
    assert "limits" not in table


def test_a_device_that_throttles_late_is_not_called_steady(tmp_path: Path) -> None:
    sustain(tmp_path / "r.jsonl", SustainedDevice(hot_after_s=8.5 * MINUTE_S))
    cell = summary_of(tmp_path / "r.jsonl")
    assert cell.sustained is not None
    assert not cell.sustained.is_steady
    assert "not steady yet" in steady_in_words(cell)


def test_a_kill_loses_no_finished_minute_and_the_cell_is_measured_again(tmp_path: Path) -> None:
    path, device = tmp_path / "r.jsonl", SustainedDevice(hot_after_s=200)
    assert sustain(path, device, kill_at_write=7) is None
    assert [record.round for record in read_results([path]).rounds] == list(range(7))
    assert "interrupted after 7 min" in steady_in_words(summary_of(path))
    assert sustain(path, device, kill_at_write=3) is None
    cell = summary_of(path)
    assert cell.sustained is not None
    assert cell.sustained.n_minutes == 3  # of the last run, and none of the first
    outcome = sustain(path, device)
    assert outcome is not None
    assert outcome.n_ok == 1
    assert "interrupted" not in steady_in_words(summary_of(path))
    again = sustain(path, device)
    assert again is not None
    assert (again.n_ok, device.n_runs) == (0, 3)  # it is done


def test_a_finished_cell_is_not_measured_again_when_the_next_is(tmp_path: Path) -> None:
    path, device = tmp_path / "r.jsonl", SustainedDevice()
    cells = [sustained_cell(sha256, minutes=2) for sha256 in FILES]
    assert sustain(path, device, cells, kill_at_write=3) is None
    view = Seen()
    sustain(path, device, cells, view=view)
    assert view.begun == (2, 1)
    assert device.n_runs == 3


def test_a_worker_that_fails_keeps_its_minutes_and_its_reason(tmp_path: Path) -> None:
    class Failing(SustainedDevice):
        def run(self, job: Job, on_minute: OnMinute) -> Answer:
            super().run(job, on_minute)
            return Answer(failure=Failure(kind="killed", message="killed from outside"))

    outcome = sustain(tmp_path / "r.jsonl", Failing())
    assert outcome is not None
    assert outcome.n_failed == 1
    cell = summary_of(tmp_path / "r.jsonl")
    assert (cell.status, cell.error) == ("failed", "killed from outside")
    assert cell.sustained is not None
    assert cell.sustained.n_minutes == 9
    sustain(tmp_path / "r.jsonl", SustainedDevice())
    assert summary_of(tmp_path / "r.jsonl").status == "ok"


def test_recommend_decides_by_the_steady_state(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    quick, even = (sustained_cell(sha256) for sha256 in FILES)
    # The quick one is faster for three minutes, and slower in the end.
    sustain(path, SustainedDevice(hot_after_s=200, factor=0.5, step_ns=300_000_000), [quick])
    sustain(tmp_path / "even.jsonl", SustainedDevice(step_ns=400_000_000), [even])
    summaries = summarise(read_results([path, tmp_path / "even.jsonl"]))
    (choice,) = recommend(summaries, Criteria(sustained=True, limits=Limits(min_decode_tps=2.0))).choices
    assert choice.chosen is not None
    assert choice.chosen.artifact_sha256 == even.artifact_sha256
    assert choice.command is not None
    assert "--sustain 600s" in choice.command


def test_sustained_loads_never_compete_with_others() -> None:
    plain = [with_cell(a_round(number), n_ctx=64) for number in range(6)]
    with pytest.raises(UserError, match="--sustain 10m"):
        recommend(summarise(results(*plain)), Criteria(sustained=True))
    assert sustained_cell().key != cell(mode="request").key
    # Cells of results written before there was such a setting keep their keys.
    assert cell().key == "bd9e6b2d6877f3be"
