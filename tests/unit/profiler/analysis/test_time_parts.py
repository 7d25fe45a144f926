"""Where a sweep's time went; a round of 1000 ms, of which every part has a length of its own."""

from pathlib import Path

import msgspec
import pytest

from profiler.analysis.time_parts import describe_time, time_parts
from profiler.cli.progress.lines import LineView
from profiler.measure.worker import Answer, Job
from profiler.records.round import AnchorRound, Round
from profiler.sweep.plan import Options, Turn
from tests.support.cells import artifact, cell, config
from tests.support.rounds import a_round, no_round, sample
from tests.support.scripted_worker import work
from tests.support.sweeps import sweep

MS = 1_000_000


def timed_round(**changes: object) -> Round:
    fields = {
        "wall_ns": 1000 * MS,
        "start_ns": 110 * MS,
        "load_ns": 60 * MS,
        "context_ns": 20 * MS,
        "warmup_ns": 90 * MS,
    }
    # Two repetitions of 60 + 4 * 25 ms, and 2 ms for choosing a token.
    return a_round(0, sample(choose_ms=2), sample(choose_ms=2), **(fields | changes))


def test_timed_steps_and_everything_else_add_up_to_the_whole() -> None:
    found = time_parts([timed_round(), timed_round()], 2100 * MS)
    assert found.timed_ns == 2 * 2 * 162 * MS
    assert (found.start_ns, found.load_ns, found.context_ns, found.warmup_ns) == (220 * MS, 120 * MS, 40 * MS, 180 * MS)
    assert found.other_ns == 2 * (1000 - 324 - 110 - 60 - 20 - 90) * MS
    assert found.between_ns == 100 * MS
    assert found.total_ns == 2100 * MS
    assert found.outside_share == 1 - 648 / 2100


def test_drift_control_is_a_part_of_its_own() -> None:
    found = time_parts([timed_round()], 1400 * MS, 300 * MS)
    assert (found.drift_ns, found.between_ns, found.total_ns) == (300 * MS, 100 * MS, 1400 * MS)
    assert found.outside_share == 1 - 324 / 1400


def test_failed_rounds_are_neither_measuring_nor_between() -> None:
    found = time_parts([timed_round(), no_round(wall_ns=500 * MS)], 1510 * MS)
    assert found.total_ns == 1010 * MS
    assert found.between_ns == 10 * MS


def test_what_an_older_round_does_not_tell_is_other() -> None:
    found = time_parts([timed_round(start_ns=None)])
    assert (found.start_ns, found.between_ns) == (0, 0)
    assert found.other_ns == (1000 - 324 - 60 - 20 - 90) * MS


def test_the_words_name_every_part() -> None:
    assert describe_time(time_parts([timed_round()] * 10, 10_000 * MS)) == (
        "68 % of 10 s went outside timed steps: warm-up 9.0 %, load 6.0 %, context 2.0 %, start of workers 11.0 %, "
        "drift control 0.0 %, between rounds 0.0 %, other 39.6 %"
    )


def test_a_sweep_that_measured_nothing_has_no_words() -> None:
    assert describe_time(time_parts([])) is None
    assert describe_time(time_parts([no_round()])) is None


def test_the_start_of_a_worker_is_kept_in_its_round() -> None:
    written = []
    done = work(Job(path="no such file", config=config(), reps=1, seed=0))

    def run(_: Job) -> Answer:
        return msgspec.structs.replace(done, start_ns=7)

    sweep([cell()], Path("no such file"), Options(rounds=1), run=run, write=written.append)
    assert [record.start_ns for record in written] == [7]


def test_the_command_line_keeps_the_rounds_of_its_own_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    view = LineView()
    view.started(1, 5)
    view.turn(Turn(cell(), 0), artifact())
    view.finished(timed_round(), artifact(), None)
    anchor = timed_round()
    view.reference(AnchorRound(**{name: getattr(anchor, name) for name in Round.__struct_fields__}))
    assert view.state.drift_ns == 1000 * MS
    assert [record.wall_ns for record in view.state.rounds] == [1000 * MS]
    assert view.state.elapsed_ns >= 0
    assert "[1/1] tiny Q8_0 t1 p6 n4 d0, round 1: prefill 100.0 t/s, decode 40.0 t/s" in capsys.readouterr().err
