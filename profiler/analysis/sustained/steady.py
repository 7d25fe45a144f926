"""The steady state of a sustained load: from which minute on the speed stays what it is.

The cut is that of the MSER rule: of all cuts in the first half, the one after which the mean of the minutes has the
smallest standard error. A minute that belongs to a faster beginning widens the scatter of the rest by more than it adds
to their number. So the steady state is at least the last half.
Source: White, "An effective truncation heuristic for bias reduction in simulation output", Simulation 69 (1997).

Whether the rest is steady is checked apart: a trend in it, or a last minute away from its median, says that it is not.
"""

from collections.abc import Sequence

from profiler.analysis.stats import median
from profiler.analysis.trend import LEAST_CHANGE, find_trend
from profiler.records.round import Round

_LAST_MINUTE_OFF = 0.05


def last_run(rounds: Sequence[Round]) -> list[Round]:
    """Return the minutes of a sustained load's last run: those of an interrupted one before do not count.

    Of any other load all rounds count.
    """
    if not rounds or not rounds[0].cell.config.sustain_s:
        return list(rounds)
    last = max(record.order for record in rounds)
    return sorted((record for record in rounds if record.order == last), key=lambda record: record.round)


def steady_part(minutes: Sequence[Round]) -> list[Round]:
    """Return the minutes of the steady state."""
    return list(minutes[steady_from(minutes) :])


def steady_from(minutes: Sequence[Round]) -> int:
    """Return the place of the first minute of the steady state."""
    speeds = [_speed(record) for record in minutes]
    cuts = range(len(speeds) // 2 + 1)
    return min(cuts, key=lambda cut: _squared_error(speeds[cut:])) if speeds else 0


def is_steady(minutes: Sequence[Round]) -> bool:
    """Return whether the speed stays the same over the minutes of a steady state."""
    speeds = [_speed(record) for record in minutes]
    trend = find_trend([[speed] for speed in speeds if speed], least_change=LEAST_CHANGE)
    off = abs(speeds[-1] / median(speeds) - 1) if speeds and median(speeds) else 0.0
    return not (trend and trend.counts) and off <= _LAST_MINUTE_OFF


def _speed(record: Round) -> float:
    """Return repetitions per second of what is timed: prefill and decode together."""
    times_ns = [sample.timed_ns for sample in record.samples]
    middle = median(times_ns) if times_ns else 0
    return 1e9 / middle if middle else 0.0


def _squared_error(speeds: Sequence[float]) -> float:
    """Return the square of the mean's relative standard error as the rule has it, without what rounding adds to it."""
    mean = sum(speeds) / len(speeds)
    if not mean:
        return 0.0
    return round(sum((speed / mean - 1) ** 2 for speed in speeds) / len(speeds) ** 2, 12)
