"""Disturbed rounds: which they are, when they make a flag, and how far they widen an interval."""

import math
from typing import Any

import msgspec
import pytest

from profiler.analysis.disturbance import disturbances_of, hidden_bytes_of, is_quieter, slowdown_of
from profiler.analysis.summarise import summarise_cell
from profiler.records.cell_summary import CellSummary
from profiler.records.failure import Doubt
from profiler.records.round import Conditions, Memory, Round
from tests.benchmarks.disturbed import busy_round, cell_of, judge
from tests.support.cells import artifact
from tests.support.rounds import MIB, a_round, sample

S = 1_000_000_000


def disturbed(number: int = 0, step_ms: float = 25, *, before: dict[str, Any] | None = None, **after: Any) -> Round:
    conditions = Conditions(**(dict.fromkeys(after, 0) if before is None else before)), Conditions(**after)
    return a_round(number, sample(decode_ms=(step_ms,) * 4, before=conditions[0], after=conditions[1]))


def summary_of(*rounds: Round) -> CellSummary:
    return summarise_cell(rounds, artifact(), None).summary


@pytest.mark.parametrize(
    ("record", "names", "slowdown"),
    [
        (a_round(), (), 1.0),
        (busy_round(0, 25, 0.1), (), 1.0),
        (busy_round(0, 25, 0.2), ("busy",), 1.25),  # all threads may have waited for a fifth of the time
        (busy_round(0, 25, 1.2), ("busy",), math.inf),
        (disturbed(mhz=1200.0, before={}), ("throttled",), 2.0),
        (disturbed(throttle=("capped",), before={}), ("throttled",), math.inf),
        (disturbed(major_faults=3), ("paging",), math.inf),
        (disturbed(swap_used_bytes=2 * MIB), ("swapping",), math.inf),
    ],
)
def test_what_disturbed_a_round_and_what_that_can_explain(
    record: Round, names: tuple[str, ...], slowdown: float
) -> None:
    assert disturbances_of(record, best_mhz=2400.0) == names
    assert slowdown_of(record, best_mhz=2400.0) == pytest.approx(slowdown)


def test_the_quieter_of_two_records_is_the_one_that_was_disturbed_less_whichever_is_faster() -> None:
    little, much = busy_round(0, 30, 0.2), busy_round(0, 20, 0.5)
    assert is_quieter(little, much)
    assert not is_quieter(much, little)
    assert not is_quieter(little, little)
    assert is_quieter(disturbed(major_faults=3), disturbed(major_faults=4))
    assert is_quieter(disturbed(mhz=2400.0, before={}), disturbed(mhz=1200.0, before={}))


def test_what_left_the_median_where_the_quiet_rounds_have_it_is_a_note() -> None:
    found = cell_of([0.0] * 6, [0, 0, 0.3, 0, 0, 0.5], cost=0.0)
    assert (found.flags, found.reaches) == ((), None)
    (note,) = found.notes
    assert note == (
        "busy, no flag: other programs used 40% of one CPU in 2 of 6 rounds; "
        "the medians are those of the 4 quiet rounds within 2%"
    )


def test_what_moved_the_median_is_a_flag_and_so_is_what_nothing_can_be_compared_with() -> None:
    moved = cell_of([0.0] * 6, [0.3, 0, 0.3, 0.4, 0, 0.5], cost=1.0)
    assert "busy" in moved.flags
    assert moved.notes == ()
    assert moved.reaches is not None
    for loads in ([0.3] * 6, [0, 0.3, 0.3, 0.3, 0.3, 0.3]):
        assert cell_of([0.0] * 6, loads, cost=0.0).flags == ("busy",)


def test_rounds_that_drift_control_marked_are_no_quiet_ones() -> None:
    doubt = Doubt(name="drifting", message="slower", slowdown=1.2)
    rounds = [msgspec.structs.replace(busy_round(number, 25, 0), doubt=doubt) for number in range(4)]
    found = summary_of(*rounds, busy_round(4, 25, 0.3), busy_round(5, 25, 0.3))
    assert found.flags == ("drifting", "busy")
    assert found.reaches is not None
    # The rounds' rates of 40, raised by 1.2 or by 1 / (1 - 0.3).
    assert found.reaches.decode_tps is not None
    assert found.reaches.decode_tps.hi == pytest.approx(40 / 0.7)
    assert found.reaches.decode_tps.lo == pytest.approx(40)


def test_the_widened_interval_is_that_of_the_rounds_as_they_may_have_been() -> None:
    found = cell_of([0.0] * 6, [0.2, 0.2, 0.2, 0.2, 0.5, 0.2], cost=1.0)
    assert found.reaches is not None
    assert found.decode_tps is not None
    assert found.reaches.decode_tps is not None
    assert (found.decode_tps.value, found.decode_tps.lo) == pytest.approx((32, 20))
    assert (found.reaches.decode_tps.lo, found.reaches.decode_tps.hi) == pytest.approx((20, 40))


def test_pages_and_swap_leave_the_speed_without_bound_and_hide_memory() -> None:
    rounds = [disturbed(number, major_faults=number) for number in range(6)]
    found = summary_of(*rounds)
    assert found.flags == ("paging",)
    assert found.reaches is not None
    assert found.reaches.decode_tps is not None
    assert found.reaches.decode_tps.hi is None
    assert found.reaches.hidden_bytes == 5 * 128 << 10
    swapped = a_round(memory={"decoded": Memory(swap_bytes=3 * MIB)})
    assert hidden_bytes_of([swapped]) == 3 * MIB


def test_a_trend_widens_both_ends_by_its_own_size() -> None:
    rounds = [a_round(number, sample(decode_ms=(25 * 1.02**number,) * 4)) for number in range(6)]
    found = summary_of(*rounds)
    assert found.flags == ("drifting",)
    assert found.reaches is not None
    assert found.reaches.decode_tps is not None
    assert found.decode_tps is not None
    change = 1 - 1.02**-5
    assert found.reaches.decode_tps.hi == pytest.approx(found.decode_tps.hi * (1 + change))
    assert found.reaches.decode_tps.lo == pytest.approx(found.decode_tps.lo * (1 - change))


def test_another_governor_midway_has_no_bound() -> None:
    rounds = [disturbed(number, governor="powersave" if number else "performance", before={}) for number in range(6)]
    found = summary_of(*rounds)
    assert found.flags == ("drifting",)
    assert found.reaches is not None
    assert found.reaches.decode_tps is not None
    assert found.reaches.decode_tps.hi is None


@pytest.mark.parametrize("noise", ["normal", "recorded"])
def test_planted_disturbances_are_flagged_and_their_intervals_hold(noise: str) -> None:
    harmless, harmful = (judge(noise, 0.02, n, cost, 60, seed=2) for n, cost in ((2, 0.0), (4, 1.0)))
    assert harmless.flagged <= 0.1
    assert harmful.flagged >= 0.95
    assert harmful.missed == 0
    assert harmful.covered_widened >= 0.95 > harmful.covered
