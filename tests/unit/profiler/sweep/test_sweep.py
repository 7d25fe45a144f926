"""The sweep: order, what is skipped, what is written when; and the worker process on a scripted engine."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from profiler.measure.worker import Answer, Job
from profiler.records.record import Record
from profiler.records.round import Round
from profiler.sweep.plan import Options, turns_of
from profiler.sweep.sweep import Outcome, time_left_s
from tests.support.cells import cell, config, script
from tests.support.scripted_worker import run_scripted, work
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import Seen, sweep


def run(
    tmp_path: Path, cells: list[Any], options: Options | None = None, **tools: Any
) -> tuple[Outcome, list[Round], Seen]:
    """Sweep cells of one file on the scripted engine, in this process."""
    written: list[Record] = []
    view = Seen()
    model = script(tmp_path / "model.json")
    outcome = sweep(
        cells, model, options or Options(rounds=3, reps=2), run=answer, write=written.append, view=view, **tools
    )
    return outcome, [record for record in written if isinstance(record, Round)], view


def answer(job: Job) -> Answer:
    """A worker's answer without a process."""
    return work(job)


CELLS = [cell(n_threads=threads) for threads in (1, 2, 3, 4)]


def test_rounds_are_interleaved_and_shuffled_by_the_seed() -> None:
    turns = turns_of(CELLS, set(), rounds=6, seed=1)
    assert [turn.round for turn in turns] == sorted(turn.round for turn in turns)
    orders = [[turn.cell.key for turn in group] for _, group in itertools.groupby(turns, key=lambda turn: turn.round)]
    assert all(sorted(order) == sorted(each.key for each in CELLS) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert turns == turns_of(list(reversed(CELLS)), set(), rounds=6, seed=1)
    assert turns != turns_of(CELLS, set(), rounds=6, seed=2)


def test_what_is_done_is_not_done_again() -> None:
    done = {(CELLS[0].key, 0), (CELLS[1].key, 2)}
    turns = turns_of(CELLS, done, rounds=3, seed=1)
    assert len(turns) == 4 * 3 - 2
    assert not done & {(turn.cell.key, turn.round) for turn in turns}


def test_every_round_of_every_cell_is_written_with_its_samples(tmp_path: Path) -> None:
    outcome, rounds, view = run(tmp_path, CELLS)
    assert outcome == Outcome(n_ok=12, n_failed=0, n_skipped=0, n_left=0)
    assert Counter((record.cell.key, record.round) for record in rounds).most_common(1)[0][1] == 1
    assert [record.order for record in rounds] == list(range(12))
    assert all(len(record.samples) == 2 for record in rounds)
    assert {record.env_id for record in rounds} == {ENVIRONMENT.id}
    assert view.events[0] == ("started", 12, 0)


def test_a_record_is_written_before_the_next_round_begins(tmp_path: Path) -> None:
    log: list[str] = []

    def logged(job: Job) -> Answer:
        log.append("run")
        return answer(job)

    model = script(tmp_path / "model.json")
    sweep(CELLS[:1], model, Options(rounds=2, reps=1), run=logged, write=lambda record: log.append("write"))
    assert log == ["run", "write", "run", "write"]


@pytest.mark.parametrize(
    ("fail", "kind", "signal"),
    [
        ("abort", "abort", "SIGABRT"),
        ("kill", "killed", "SIGKILL"),
        ("load", "load", None),
        ("exception", "worker", None),
    ],
)
def test_a_worker_that_dies_is_a_record_and_the_sweep_goes_on(
    tmp_path: Path, fail: str, kind: str, signal: str
) -> None:
    broken = cell("b" * 64)
    bad, good = script(tmp_path / "bad.json", fail=fail), script(tmp_path / "good.json")
    written: list[Any] = []
    models = {"b" * 64: bad, CELLS[0].artifact_sha256: good}
    options = Options(rounds=2, reps=1)
    outcome = sweep([broken, CELLS[0]], models, options, run=run_scripted, write=written.append)
    assert outcome == Outcome(n_ok=2, n_failed=1, n_skipped=0, n_left=0)
    (failed,) = [record for record in written if record.status == "failed"]
    assert (failed.error.kind, failed.error.signal) == (kind, signal)
    assert failed.error.message
    assert str(tmp_path) not in failed.error.message


def test_a_worker_that_hangs_is_given_up(tmp_path: Path) -> None:
    model = script(tmp_path / "model.json", fail="hang")
    found = run_scripted(Job(path=str(model), config=config(), reps=1, seed=0), timeout_s=1.5)
    assert found.failure is not None
    assert found.failure.kind == "timeout"


def test_what_does_not_fit_is_skipped_with_the_reason_unless_forced(tmp_path: Path) -> None:
    outcome, rounds, _ = run(tmp_path, CELLS[:1], available_bytes=lambda: 1000)
    assert outcome == Outcome(n_ok=0, n_failed=0, n_skipped=1, n_left=0)
    assert rounds[0].error is not None
    assert "1000 B are available" in rounds[0].error.message
    forced = Options(rounds=1, reps=1, force=True)
    outcome, _, _ = run(tmp_path, CELLS[:1], forced, available_bytes=lambda: 1000)
    assert outcome.n_ok == 1


def test_a_budget_leaves_rounds_over(tmp_path: Path) -> None:
    ticks = itertools.count(0, 10)
    options = Options(rounds=3, reps=1, budget_s=55)
    outcome, rounds, _ = run(tmp_path, CELLS[:2], options, now_s=lambda: float(next(ticks)))
    assert 0 < len(rounds) < 6
    assert outcome.n_left == 6 - len(rounds)


def test_the_sweep_rests_between_rounds_but_not_after_the_last(tmp_path: Path) -> None:
    rests: list[float] = []
    options = Options(rounds=2, reps=1, cooldown_s=7)
    run(tmp_path, CELLS[:1], options, sleep=rests.append)
    assert rests == [7]


def test_time_left_uses_a_cells_own_time_where_it_has_one() -> None:
    assert time_left_s(["a", "b"], {}, 0) is None
    assert time_left_s(["a", "a", "c"], {"a": [2.0, 4.0], "b": [9.0]}, 1.0) == 3 + 3 + 6 + 3


def test_a_worker_ends_when_its_parent_is_gone(tmp_path: Path) -> None:
    import subprocess
    import sys
    import time

    import msgspec

    from quant.base.child import child_environment

    model = script(tmp_path / "model.json", sleep_s=60)
    job = msgspec.json.encode(Job(path=str(model), config=config(), reps=1, seed=0))
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tests.support.scripted_worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=child_environment(),
    )
    assert process.stdin is not None
    process.stdin.write(job + b"\n")
    process.stdin.flush()
    time.sleep(1.0)
    assert process.poll() is None
    process.stdin.close()  # what the system does when the parent dies
    assert process.wait(timeout=10) == 3
