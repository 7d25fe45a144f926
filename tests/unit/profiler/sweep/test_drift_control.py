"""Drift control's decisions: which cell, how often, what is a change, and what follows from one."""

import math
import random

import pytest

from profiler.records.round import Conditions
from profiler.sweep.drift_control import DriftControl, Reading, reading_of
from profiler.sweep.reference_cell import cost_s, rank, spacing
from tests.support.cells import artifact, cell
from tests.support.rounds import a_round, sample

GIB = 1 << 30


def reading(*times_ms: float, **fields: object) -> Reading:
    return Reading(times_ns=tuple(round(time_ms * 1e6) for time_ms in times_ms), **fields)  # type: ignore[arg-type]


def opened(*times_ms: float) -> DriftControl:
    return DriftControl(opening=[reading(time_ms) for time_ms in times_ms or (1000, 1000)])


# --- the level and the threshold


def test_two_runs_open_it_and_their_middle_is_the_level() -> None:
    control = DriftControl()
    assert control.decide(reading(1000)).measure
    assert not control.decide(reading(1020)).measure
    assert control.change(reading(1010)) == 0
    assert control.change(reading(2020)) == -0.5


def test_the_threshold_is_three_per_cent_at_least_and_twenty_at_most() -> None:
    assert opened(1000, 1000).threshold == 0.03
    assert opened(1000, 3000).threshold == 0.20


def test_the_threshold_is_three_times_the_noise_between_runs() -> None:
    # Two values d apart have a standard deviation of d / sqrt(2).
    assert opened(1000, 1000 * math.exp(0.03)).threshold == pytest.approx(3 * 0.03 / math.sqrt(2), rel=1e-4)


def test_the_threshold_is_three_times_the_noise_within_runs_where_that_is_larger() -> None:
    times = (1000, 1000 * math.exp(0.04))
    control = DriftControl(opening=[reading(*times), reading(*times)])
    assert control.threshold == pytest.approx(3 * 0.04 / math.sqrt(2), rel=1e-4)


def test_a_slow_drift_that_was_let_pass_does_not_widen_the_threshold() -> None:
    control = opened()
    for time_ms in (1005, 1010, 1015, 1020, 1025, 1030):
        assert control.decide(reading(time_ms)).suspect is None
    assert control.threshold == 0.03
    assert control.decide(reading(1035)).rest_s == 10


# --- what follows


def test_a_slower_run_begins_a_cool_down_with_longer_and_longer_rests_up_to_the_limit() -> None:
    control = opened()
    decisions = [control.decide(reading(1200)) for _ in range(5)]
    assert [decision.rest_s for decision in decisions] == [10, 20, 40, 50, 0]
    assert [decision.measure for decision in decisions] == [True, True, True, True, False]
    assert [decision.suspect is not None for decision in decisions] == [False, False, False, False, True]
    assert not decisions[-1].remeasure


def test_what_was_given_up_is_not_waited_for_again_until_it_was_back() -> None:
    control = opened()
    for _ in range(5):
        control.decide(reading(1200))
    decision = control.decide(reading(1200))
    assert (decision.measure, decision.remeasure, decision.suspect is None) == (False, False, False)
    back = control.decide(reading(1000))
    assert (back.remeasure, back.suspect is None) == (True, False)
    assert control.decide(reading(1200)).rest_s == 10


def test_no_rest_is_longer_than_the_budget_leaves() -> None:
    control = opened()
    assert control.decide(reading(1200), 25).rest_s == 10
    assert control.decide(reading(1200), 14).rest_s == 14
    decision = control.decide(reading(1200), 0)
    assert (decision.measure, decision.suspect is None) == (False, False)


def test_the_mark_has_the_first_slow_readings_change_and_the_systems_words() -> None:
    control = opened()
    control.decide(reading(1250, throttled="the clock fell from 2400 to 1500 MHz"))
    decision = control.decide(reading(1000))
    assert decision.suspect is not None
    assert decision.suspect.name == "throttled"
    assert "20.0% slower" in decision.suspect.message
    assert "(the clock fell from 2400 to 1500 MHz)" in decision.suspect.message


def test_one_faster_run_alone_changes_nothing() -> None:
    control = opened()
    assert control.decide(reading(900)).measure
    decision = control.decide(reading(1000))
    assert (decision.measure, decision.suspect) == (False, None)
    assert control.change(reading(1000)) == 0


def test_two_faster_runs_are_the_new_level_and_make_everything_before_suspect() -> None:
    control = opened()
    control.decide(reading(800))
    decision = control.decide(reading(800))
    assert (decision.all_rounds, decision.remeasure) == (True, True)
    assert decision.suspect is not None
    assert decision.suspect.name == "drifting"
    assert control.change(reading(800)) == 0


# --- how often it is right, on simulated sweeps


def alarms(noise: float, drop: float, seed: int) -> tuple[bool, bool]:
    """Simulate eight runs of three repetitions with a drop before the last: was there an alarm before, and at it?"""
    chance = random.Random(seed)

    def run(factor: float) -> Reading:
        level = 1000 * factor * math.exp(chance.gauss(0, noise))
        return reading(*(level * math.exp(chance.gauss(0, noise)) for _ in range(3)))

    control = DriftControl()
    early = False
    for _ in range(7):
        early |= control.decide(run(1)).rest_s > 0
        if early:
            control = DriftControl(opening=[run(1), run(1)])
    return early, control.decide(run(1 / (1 - drop))).rest_s > 0


@pytest.mark.parametrize("noise", [0.003, 0.02])
def test_an_alarm_without_cause_is_rare_and_a_real_throttle_is_caught(noise: float) -> None:
    found = [alarms(noise, drop=0.25, seed=seed) for seed in range(400)]
    assert sum(early for early, _ in found) <= 0.10 * len(found)
    assert sum(caught for _, caught in found) >= 0.99 * len(found)


# --- the cell, and how often it is measured


def test_the_cheapest_cell_comes_first_and_the_seed_decides_between_equals() -> None:
    small, large = artifact(tensor_bytes=1 * GIB), artifact("b" * 64, tensor_bytes=4 * GIB)
    files = {small.sha256: small, large.sha256: large}
    cells = [cell("b" * 64), cell(n_threads=1), cell(n_threads=4), cell(n_threads=4, n_ctx=128)]

    def cost(each):  # type: ignore[no-untyped-def]
        return cost_s(files[each.artifact_sha256], each, 3)

    firsts = {rank(cells, cost, seed)[0] for seed in range(20)}
    assert firsts == {cells[2], cells[3]}
    assert rank(cells, cost, 1) == rank(list(reversed(cells)), cost, 1)
    assert rank(cells, cost, 1)[-1] == cells[0]


def test_it_is_measured_as_often_as_a_tenth_of_the_sweep_allows() -> None:
    assert spacing([1.0] * 84, 6, 1.0) == 1  # 2 + 6 runs
    assert spacing([1.0] * 60, 6, 1.0) == 2  # 2 + 3
    assert spacing([1.0] * 40, 6, 1.0) == 3  # 2 + 2
    assert spacing([1.0] * 30, 6, 1.0) == 6  # 2 + 1
    assert spacing([1.0] * 29, 6, 1.0) is None
    assert spacing([1.0] * 12 + [10.0] * 12, 6, 1.0) == 1


def test_a_reading_is_the_whole_timed_part_and_the_warmest_moment() -> None:
    warm = [Conditions(temperature_c=degrees) for degrees in (61.0, 64.0, 63.0)]
    record = a_round(
        0,
        sample(60, (25, 25), choose_ms=1, after=warm[0]),
        sample(70, (25, 25), choose_ms=1, after=warm[1]),
        sample(None, (25, 25), after=warm[2]),
    )
    assert reading_of(record) == Reading(times_ns=(111_000_000, 121_000_000, 50_000_000), temperature_c=64.0)
    assert reading_of(a_round(0, sample(None, ()))) is None
