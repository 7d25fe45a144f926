"""Drift control in a sweep, on a device that throttles: caught, reported, marked, re-measured; and kills in between."""

import gc
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from profiler.analysis.summarise import summarise
from profiler.measure.worker import Answer, Job
from profiler.records.failure import Failure
from profiler.records.round import Round
from profiler.results.file import read_results
from tests.support.cells import cell
from tests.support.throttling import CELLS, Device, Sweep

N_ALL = {(cell.key, number) for cell in CELLS for number in range(6)}
# Two runs of the reference cell open the sweep, then every round of the 14 cells is followed by one.
FIRST_OF_ROUND_3 = 2 + 2 * 15


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep what pytest holds out of the loop's garbage collections, and do not wait for the disk."""
    monkeypatch.setattr("profiler.results.file.os.fsync", lambda _: None)
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.jsonl"


def every_record(path: Path) -> list[Round]:
    """Return all rounds that were ever written, the superseded ones too."""
    lines = [line for line in path.read_bytes().splitlines() if line.startswith(b'{"type":"round"')]
    return [msgspec.json.decode(line, type=Round) for line in lines]


def test_a_steady_device_is_measured_once_and_drift_control_adds_less_than_a_tenth(path: Path) -> None:
    device = Device()
    sweep = Sweep(path, device)
    results = read_results([path])
    assert len(results.rounds) == len(every_record(path)) == 84
    assert len(results.anchors) == sweep.view.n_references == 2 + 6
    assert device.n_runs == 84 + 8
    assert (sweep.lines, device.rests, sweep.view.n_more) == ([], [], 0)
    assert sweep.intro == [
        "drift control: the reference cell is tiny Q8_0 t1 custom, measured now, after every round and at the end"
    ]
    assert sweep.outcome is not None
    assert sweep.outcome.n_ok == 84


def test_a_throttled_device_is_caught_cooled_down_and_its_rounds_are_measured_again(path: Path) -> None:
    device = Device(hot_at=FIRST_OF_ROUND_3 + 3)
    sweep = Sweep(path, device)
    assert device.rests == [10.0, 20.0]
    caught, rests, back = sweep.lines
    for fact in ("20.0% slower", "threshold 3.0%, 85 °C after 60 °C", "throttled in 1 of 1 repetitions", "for 10 s"):
        assert fact in caught
    assert "20.0% slower after 10 s" in rests
    assert rests.endswith("for 20 s")
    assert "back after 30 s (+0.0%, 60 °C after 60 °C" in back
    assert back.endswith("14 rounds measured meanwhile are marked and measured again")
    suspect = [record for record in every_record(path) if record.doubt is not None]
    assert {(record.cell.key, record.round) for record in suspect} == {(cell.key, 2) for cell in CELLS}
    assert {record.doubt.name for record in suspect if record.doubt} == {"throttled"}
    assert sweep.view.n_more == 14
    assert sweep.outcome is not None
    assert (sweep.outcome.n_ok, sweep.outcome.n_failed) == (84, 0)
    results = read_results([path])
    assert {(record.cell.key, record.round) for record in results.rounds} == N_ALL
    assert all(record.doubt is None for record in results.rounds)
    assert all(cell.flags == () and cell.rounds == 6 for cell in summarise(results))


def test_without_sensors_the_reference_cell_alone_shows_a_drift(path: Path) -> None:
    device = Device(hot_at=FIRST_OF_ROUND_3, factor=0.95, sensors=False)
    sweep = Sweep(path, device)
    assert sweep.lines[0].startswith(
        "the reference cell is 5.0% slower than at the beginning (threshold 3.0%): cooling"
    )
    suspect = [record.doubt for record in every_record(path) if record.doubt is not None]
    assert [doubt.name for doubt in suspect] == ["drifting"] * 14
    assert all(record.doubt is None for record in read_results([path]).rounds)


def test_a_device_that_stays_hot_is_waited_for_once_and_its_rounds_stay_marked(path: Path) -> None:
    device = Device(hot_at=FIRST_OF_ROUND_3, cool_after_s=None, sensors=False)
    sweep = Sweep(path, device)
    assert device.rests == [10.0, 20.0, 40.0, 50.0]
    assert len(sweep.lines) == 1 + 4
    assert sweep.lines[-1].startswith("the reference cell is still 20.0% slower after 2 min")
    assert sweep.lines[-1].endswith("--cooldown 60s; 14 rounds measured meanwhile stay marked")
    results = read_results([path])
    marked = {(record.cell.key, record.round) for record in results.rounds if record.doubt is not None}
    assert marked == {(cell.key, number) for cell in CELLS for number in (2, 3, 4, 5)}
    assert sweep.view.n_more == 0
    for summary in summarise(results):
        assert "drifting" in summary.flags
        assert summary.rounds == 6
        assert summary.status == "ok"


def test_what_stayed_marked_is_what_the_next_run_measures(path: Path) -> None:
    Sweep(path, Device(hot_at=FIRST_OF_ROUND_3, cool_after_s=None))
    before = len(every_record(path))
    again = Sweep(path, Device())
    assert again.view.begun == (4 * 14, 2 * 14)
    assert len(every_record(path)) == before + 56
    results = read_results([path])
    assert all(record.doubt is None for record in results.rounds)
    assert all(summary.flags == () for summary in summarise(results))
    third = Sweep(path, Device())
    assert (third.view.begun, third.n_writes) == ((0, 84), 0)


def test_the_next_run_compares_with_the_first_ones_opening(path: Path) -> None:
    Sweep(path, Device(), rounds=3)
    device = Device(hot_at=0)
    sweep = Sweep(path, device)
    # Nothing was measured meanwhile, so the sweep waits and marks nothing.
    assert device.rests == [10.0, 20.0]
    assert [line.partition(" (")[0] for line in sweep.lines] == [
        "the reference cell is 20.0% slower than at the beginning",
        "the reference cell is still 20.0% slower after 10 s: cooling down for 20 s",
        "the reference cell is back after 30 s",
    ]
    assert all(record.doubt is None for record in every_record(path))


def test_a_round_is_not_repeated_forever(path: Path) -> None:
    class Relapsing(Device):
        """From the third round on it is cool for one process after each rest, and hot again with the next."""

        rested = False

        def run(self, job: Job) -> Answer:
            self.hot = self.n_runs >= FIRST_OF_ROUND_3 and not self.rested
            self.rested = False
            return super().run(job)

        def sleep(self, seconds: float) -> None:
            self.rested = True

    Sweep(path, Relapsing(sensors=False))
    tries = Counter((record.cell.key, record.round) for record in every_record(path) if record.doubt is None)
    assert set(tries) == N_ALL
    assert max(tries.values()) == 3
    marked = {(record.cell.key, record.round) for record in read_results([path]).rounds if record.doubt is not None}
    assert marked == {(cell.key, number) for cell in CELLS for number in (2, 3, 4, 5)}


def test_a_device_that_proves_faster_makes_all_before_suspect(path: Path) -> None:
    device = Device(slow_until=FIRST_OF_ROUND_3, sensors=False)
    sweep = Sweep(path, device)
    assert device.rests == []
    (line,) = sweep.lines
    assert line.startswith("the reference cell is 25.0% faster than at the beginning")
    assert line.endswith("with its new speed; 42 rounds measured meanwhile are marked and measured again")
    results = read_results([path])
    assert {(record.cell.key, record.round) for record in results.rounds} == N_ALL
    assert all(record.doubt is None for record in results.rounds)
    assert sweep.outcome is not None
    assert sweep.outcome.n_ok == 84


def test_what_was_measured_hot_before_a_kill_is_measured_again_by_the_next_run(path: Path) -> None:
    n_hot = 6
    device = Device(hot_at=FIRST_OF_ROUND_3)
    Sweep(path, device, kill_at_write=FIRST_OF_ROUND_3 + n_hot)  # before the reference cell could show it
    assert len(read_results([path]).rounds) == 2 * 14 + n_hot
    again = Sweep(path, device)
    assert device.rests == [10.0, 20.0]
    assert again.lines[-1].endswith(f"; {n_hot} rounds measured meanwhile are marked and measured again")
    suspect = {(record.cell.key, record.round) for record in every_record(path) if record.doubt is not None}
    assert len(suspect) == n_hot
    results = read_results([path])
    assert {(record.cell.key, record.round) for record in results.rounds} == N_ALL
    assert all(record.doubt is None for record in results.rounds)


@pytest.mark.parametrize("kill_at", range(3, 120, 9))
def test_a_kill_at_any_record_loses_nothing_and_repeats_nothing_that_is_trusted(path: Path, kill_at: int) -> None:
    device = Device(hot_at=FIRST_OF_ROUND_3 + 3)
    Sweep(path, device, kill_at_write=kill_at)
    again = Device()
    again.hot = device.hot
    Sweep(path, again)
    results = read_results([path])
    assert {(record.cell.key, record.round) for record in results.rounds} == N_ALL
    assert all(record.doubt is None for record in results.rounds)
    # A round is measured again only when a record marked it.
    measured = Counter((record.cell.key, record.round) for record in every_record(path) if record.doubt is None)
    suspect = {(record.cell.key, record.round) for record in every_record(path) if record.doubt is not None}
    assert {turn for turn, count in measured.items() if count > 1} <= suspect


def test_a_budget_that_ends_within_a_round_still_has_a_last_reading(path: Path) -> None:
    ticks = itertools.count(0, 1)
    device = Device(hot_at=FIRST_OF_ROUND_3, cool_after_s=None)
    sweep = Sweep(path, device, now_s=lambda: float(next(ticks)), budget_s=150)
    results = read_results([path])
    assert sweep.outcome is not None
    assert sweep.outcome.n_left > 0
    assert results.anchors[-1].order == max(record.order for record in [*results.rounds, *results.anchors])


@pytest.mark.parametrize(("cells", "rounds"), [(1, 6), (4, 6), (14, 1)])
def test_few_turns_need_no_drift_control(path: Path, cells: int, rounds: int) -> None:
    device = Device()
    Sweep(path, device, cells=CELLS[:cells], rounds=rounds)
    assert read_results([path]).anchors == []
    assert device.n_runs == cells * rounds


@pytest.mark.parametrize(("kind", "n_tried"), [("load", 2), ("timeout", 1)])
def test_where_one_file_fails_the_next_is_the_reference_but_a_time_out_is_waited_for_once(
    path: Path, kind: str, n_tried: int
) -> None:
    class Broken(Device):
        """No file can be measured."""

        def run(self, job: Job) -> Answer:
            self.n_runs += 1
            return Answer(failure=Failure(kind=kind, message="it broke"))

    cells = [*CELLS[:7], *(cell("b" * 64, n_ctx=64 + more) for more in range(7))]
    device = Broken()
    sweep = Sweep(path, device, cells=cells)
    assert sweep.lines == ["drift control: the reference cell could not be measured (it broke)"] * n_tried
    assert len(read_results([path]).anchors) == n_tried
    assert device.n_runs == n_tried + 14  # every cell fails in its first round


def test_it_can_be_switched_off(path: Path) -> None:
    device = Device(hot_at=FIRST_OF_ROUND_3)
    Sweep(path, device, drift_control=False)
    assert read_results([path]).anchors == []
    assert device.n_runs == 84
