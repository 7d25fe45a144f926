"""Stopping at a target: only at the looks, for all rates of a cell, and with an interval that allows for the looks."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from profiler.analysis.stats import adjusted_interval
from profiler.analysis.summarise import summarise, target_of
from profiler.engine.memory_layout import offset_of
from profiler.measure.worker import Answer, Job
from profiler.records.round import Round
from profiler.sweep.plan import History, Options
from profiler.sweep.stopping import (
    LOOKS,
    Met,
    Stopping,
    describe,
    looks_of,
    relative_half_width,
)
from tests.support.cells import cell, script
from tests.support.rounds import a_round, no_round, results, sample, with_cell
from tests.support.scripted_worker import work
from tests.support.series import LAYOUTS, MEDIANS, coverage, exact_coverage
from tests.support.sweeps import Seen, sweep


def decoded(index: int, step_ms: float, **changes: Any) -> Round:
    """A round whose prefill is always the same and whose decode takes this long."""
    return a_round(index, sample(decode_ms=(step_ms,) * 4), **changes)


def met_after(stopping: Stopping, steps_ms: Sequence[float]) -> list[int]:
    """Add rounds, and return the numbers of those after which the target was met."""
    return [index + 1 for index, step in enumerate(steps_ms) if stopping.add(decoded(index, step))]


def test_there_are_four_looks_at_most_and_the_last_is_the_end() -> None:
    assert looks_of(18) == (6, 10, 14, 18)
    assert looks_of(6) == (6,)
    assert looks_of(11) == (6, 10, 11)
    assert looks_of(36) == (6, 20, 28, 36)


def test_every_look_pairs_the_memory_layouts() -> None:
    for look in {look for most in range(6, 1001, 2) for look in looks_of(most)}:
        kinds = Counter(offset_of(number) % 32 for number in range(look))
        assert kinds == {0: look // 2, 16: look // 2}
    # An odd number of rounds to which a user limits the sweep moves the end alone.
    assert all(look % 2 == 0 for look in looks_of(35)[:-1])


def test_a_look_takes_other_order_statistics_than_a_plain_interval() -> None:
    ranks = {}
    for look in LOOKS:
        interval = adjusted_interval(range(1, look + 1), 0.02)
        assert interval is not None
        ranks[look] = (interval.lo, interval.hi)
    assert ranks == {6: (1, 6), 10: (2, 9), 14: (3, 12), 18: (5, 14)}
    plain = adjusted_interval(range(1, 10), None)
    ruled = adjusted_interval(range(1, 10), 0.02)
    assert plain is not None
    assert ruled is not None
    assert (plain.lo, ruled.lo) == (2, 1)
    assert adjusted_interval(range(5), 0.02) is None


def test_the_half_width_is_a_share_of_the_median() -> None:
    assert relative_half_width([90, 100, 100, 100, 100, 110]) == pytest.approx(0.1)
    assert relative_half_width([100] * 5) is None


def test_the_exact_coverage_is_that_of_all_ways_that_rounds_can_fall() -> None:
    # Six coins: both sides must show, 62 of 64 ways.
    assert exact_coverage((6,)) == 62 / 64
    # Of all ways that ten coins fall: some of both among the first six, two of both among all.
    held = sum(0 < sum(coins[:6]) < 6 and 2 <= sum(coins) <= 8 for coins in itertools.product((0, 1), repeat=10))
    assert exact_coverage((6, 10)) == pytest.approx(held / 2**10)
    assert exact_coverage(LOOKS) == pytest.approx(0.9350, abs=5e-5)


def test_no_number_of_rounds_makes_the_looks_unsafe() -> None:
    assert min(exact_coverage(looks_of(most)) for most in range(6, 101)) > 0.91
    assert min(exact_coverage(looks_of(most)) for most in range(100, 1001, 50)) > 0.90
    assert min(exact_coverage(looks_of(most)) for most in range(6, 19)) > 0.93


def test_a_cell_is_left_alone_only_at_a_look() -> None:
    # All equal but for one: at six rounds it widens the interval, at ten it is outside of it.
    steps = [25, 25, 25, 25, 25, 35, *[25] * 12]
    stopping = Stopping(0.02, 18)
    assert met_after(stopping, steps) == [10]
    assert stopping.met[cell().key] == Met(target=0.02, n_rounds=10, half_widths={"prefill": 0.0, "decode": 0.0})


def test_every_rate_of_the_cell_must_be_within_the_target() -> None:
    rounds = [a_round(index, sample(prefill_ms=60 if index % 2 else 50)) for index in range(18)]
    stopping = Stopping(0.02, 18)
    assert [stopping.add(record) for record in rounds] == [None] * 18
    only_decode = [with_cell(a_round(index, sample(prefill_ms=None)), n_prompt=0) for index in range(6)]
    assert [stopping.add(record) is not None for record in only_decode] == [False] * 5 + [True]


def test_cells_are_counted_apart_and_failed_rounds_not_at_all() -> None:
    stopping = Stopping(0.02, 18)
    others = [with_cell(decoded(index, 25), n_threads=2) for index in range(5)]
    assert all(stopping.add(record) is None for record in [*others, no_round(5)])
    assert met_after(stopping, [25] * 6) == [6]


def test_why_a_cell_is_left_alone_is_said_in_a_line() -> None:
    met = Met(target=0.02, n_rounds=10, half_widths={"prefill": 0.0123, "decode": 0.004})
    assert describe(met) == "met the target of ±2% after 10 rounds: prefill ±1.2%, decode ±0.4%"


def test_a_summary_has_the_interval_of_the_rule_that_its_rounds_were_measured_under() -> None:
    steps = (10, 20, 25, 40, 50, 55, 60, 70, 80)
    (plain,) = summarise(results(*(decoded(index, step) for index, step in enumerate(steps))))
    rounds = [decoded(index, step, target=0.02 if index > 5 else None) for index, step in enumerate(steps)]
    (ruled,) = summarise(results(*rounds))
    assert (plain.target, ruled.target, target_of(rounds)) == (None, 0.02, 0.02)
    assert (plain.decode_tps.lo, plain.decode_tps.hi) == pytest.approx((1000 / 70, 1000 / 20))
    assert (ruled.decode_tps.lo, ruled.decode_tps.hi) == pytest.approx((1000 / 80, 1000 / 10))


def test_rounds_that_lie_far_out_are_labelled_by_their_number() -> None:
    (found,) = summarise(results(*(decoded(index, step) for index, step in enumerate((25, 25.1, 40, 25.2, 24.9, 25)))))
    assert (found.prefill_outliers, found.decode_outliers) == ((), (2,))


STEADY, ODD = cell(n_threads=1), cell(n_threads=2)


def swept(tmp_path: Path, history: History | None = None) -> tuple[list[Round], Seen]:
    """Sweep two cells under a target: the rates of the one never change, those of the other alternate."""
    model, uneven = script(tmp_path / "model.json"), script(tmp_path / "uneven.json", decode_ns=500)
    written: list[Any] = []
    view = Seen()
    fast, slow = (work(Job(path=str(path), config=ODD.config, reps=1, seed=0)) for path in (model, uneven))

    def run(job: Job) -> Answer:
        return slow if job.config == ODD.config and len(written) % 2 else fast

    options = Options(rounds=18, reps=1, target=0.02)
    sweep([STEADY, ODD], model, options, run=run, write=written.append, view=view, history=history)
    return written, view


def test_a_cell_that_met_its_target_takes_no_further_turn_and_the_others_go_on(tmp_path: Path) -> None:
    rounds, view = swept(tmp_path)
    counts = {each.key: sum(record.cell.key == each.key for record in rounds) for each in (STEADY, ODD)}
    assert counts == {STEADY.key: 6, ODD.key: 18}
    assert view.begun == (36, 0)
    assert view.stops == [(STEADY.key, 6, 12)]
    assert {record.target for record in rounds} == {0.02}


def test_a_sweep_that_goes_on_knows_who_met_the_target_before(tmp_path: Path) -> None:
    before, _ = swept(tmp_path)
    rounds, view = swept(tmp_path, History(trusted=before[:24]))
    assert [record.cell.key for record in rounds] == [ODD.key] * len(rounds)
    assert len(before[:24]) + len(rounds) == 24
    assert view.begun == (0, 24)


@pytest.mark.parametrize("shape", MEDIANS)
@pytest.mark.parametrize("target", [0.005, 0.010, 0.015, 0.030])
def test_a_stopped_interval_covers_the_median_as_often_as_it_says(shape: str, target: float) -> None:
    """4000 series: three standard errors are 1.2 % at 93 % and 0.8 % at 97 %."""
    held, _ = coverage(shape, target, 4000, seed=round(target * 1000))
    assert 0.93 - 0.012 <= held <= 0.97 + 0.008


@pytest.mark.parametrize("shape", LAYOUTS)
@pytest.mark.parametrize("target", [0.010, 0.015, 0.030])
def test_a_stopped_interval_covers_the_middle_of_two_layouts(shape: str, target: float) -> None:
    assert coverage(shape, target, 1000, seed=round(target * 1000))[0] > 0.97


def test_stopping_spares_rounds_where_they_are_not_needed() -> None:
    assert coverage("normal", 0.06, 500, seed=1)[1] < 6.5
    assert 9 < coverage("normal", 0.02, 500, seed=1)[1] < 13
    assert coverage("normal", 0.002, 500, seed=1)[1] == 18


def test_a_round_that_is_measured_again_counts_once_and_its_cell_goes_on() -> None:
    stopping = Stopping(0.05, 6)
    for number in range(5):
        assert stopping.add(decoded(number, 25)) is None
    assert stopping.add(decoded(4, 25)) is None, "the same round again is no sixth"
    assert stopping.add(decoded(5, 25)) is not None
    cell_key = decoded(0, 25).cell.key
    stopping.withdraw(cell_key, 5)
    assert stopping.met == {}
    assert stopping.add(decoded(5, 25)) is not None
