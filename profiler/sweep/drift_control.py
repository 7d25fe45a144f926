"""Drift control decides, from one cheap cell that is measured again and again, whether the device holds its speed.

Pure: readings in, decisions out. drift_runner.py measures, rests, marks and writes.

    opening     two readings; their median is the level that all later readings are compared with
    watching    a reading within the threshold is good; a slower one starts a cool-down, a faster one is checked by
                a second
    cooling     rest, measure, rest longer, ... until the reference cell is back, or the limit of waiting is reached
    given up    no more waiting in this sweep; what is measured while the reference cell is slower stays marked

The threshold is three times the reference cell's own noise, at least 3 % and at most 20 %. When the device slowed down,
the rounds since the last good reading are suspect; when it proves faster than at its opening, all rounds of this sweep
are.
"""

import enum
import itertools
import math
from collections.abc import Sequence

import msgspec

from profiler.analysis.stats import median
from profiler.records.failure import Doubt
from profiler.records.round import Round
from profiler.sweep.reference_cell import N_OPENING
from quant.base.units import format_duration

LEAST_CHANGE, MOST_CHANGE = 0.03, 0.20
_NOISES = 3.0
# A shorter reading shows the system's scheduler rather than the device's clock.
LEAST_TIMED_NS = 200_000_000
REST_S, REST_LIMIT_S = 10.0, 120.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the reference cell: the timed part of each repetition, and what the system reported meanwhile."""

    times_ns: tuple[int, ...]
    throttled: str | None = None  # in the system's own words
    temperature_c: float | None = None

    @property
    def median_ns(self) -> float:
        """The median repetition."""
        return median(self.times_ns)


def reading_of(record: Round, throttled: str | None = None) -> Reading | None:
    """Return the reading of a round; None where it holds no time."""
    times = tuple(sample.timed_ns for sample in record.samples if sample.timed_ns)
    warm = [sample.after.temperature_c for sample in record.samples if sample.after.temperature_c is not None]
    return Reading(times_ns=times, throttled=throttled, temperature_c=max(warm, default=None)) if times else None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What to do after a reading."""

    measure: bool = False  # the reference cell once more, after `rest_s`
    rest_s: float = 0.0
    suspect: Doubt | None = None  # of the rounds since the last good reading
    all_rounds: bool = False  # of all rounds of this sweep
    remeasure: bool = False  # those rounds
    message: str | None = None


class Phase(enum.Enum):
    """Where drift control is; the module's first lines describe each."""

    OPENING = "opening"
    WATCHING = "watching"
    CONFIRMING = "confirming"  # a faster reading
    COOLING = "cooling"
    GIVEN_UP = "given up"


class DriftControl:
    """Decide from each reading what comes next."""

    def __init__(
        self, *, opening: Sequence[Reading] = (), rest_s: float = REST_S, limit_s: float = REST_LIMIT_S
    ) -> None:
        self._rest_s, self._limit_s = rest_s, limit_s
        self._phase = Phase.OPENING
        self._good: list[Reading] = []
        self._level_ns = 0.0
        self._opening_c: float | None = None
        self._waited_s = self._next_rest_s = 0.0
        self._first_off: Reading | None = None
        for reading in opening:
            self._open(reading)

    @property
    def threshold(self) -> float:
        """The change of speed that exceeds the reference cell's noise."""
        return min(max(LEAST_CHANGE, _NOISES * _noise(self._good)), MOST_CHANGE)

    def change(self, reading: Reading) -> float:
        """Return the speed relative to the opening's: -0.1 is a tenth slower."""
        return self._level_ns / reading.median_ns - 1

    def decide(self, reading: Reading, time_left_s: float = math.inf) -> Decision:
        """Take a reading and decide; no rest is longer than the time that is left."""
        if self._phase is Phase.OPENING:
            return self._open(reading)
        change = self.change(reading)
        if self._phase is Phase.COOLING:
            return self._cool(reading, change, time_left_s)
        if change < -self.threshold:
            return self._slower(reading, change, time_left_s)
        if change > self.threshold and self._phase is Phase.CONFIRMING:
            return self._reopen(reading, change)
        if change > self.threshold and self._phase is Phase.WATCHING:
            self._phase, self._first_off = Phase.CONFIRMING, reading
            return Decision(measure=True)
        return self._good_again(reading, change)

    def _open(self, reading: Reading) -> Decision:
        self._good.append(reading)
        if len(self._good) < N_OPENING:
            return Decision(measure=True)
        self._level_ns = median([each.median_ns for each in self._good])
        self._opening_c = self._good[0].temperature_c
        self._phase = Phase.WATCHING
        return Decision()

    def _good_again(self, reading: Reading, change: float) -> Decision:
        recovered = self._phase is Phase.GIVEN_UP
        self._phase = Phase.WATCHING
        self._good.append(reading)
        if not recovered:
            return Decision()
        suspect = Doubt(
            name="drifting",
            message="the reference cell came back to its speed during these rounds",
            slowdown=None if self._first_off is None else 1 / (1 + self.change(self._first_off)),
        )
        return Decision(suspect=suspect, remeasure=True, message=f"the reference cell is back ({change:+.1%})")

    def _slower(self, reading: Reading, change: float, time_left_s: float) -> Decision:
        if self._phase is Phase.GIVEN_UP:
            return Decision(suspect=_suspect(reading, reading, change))
        self._phase, self._first_off, self._waited_s, self._next_rest_s = Phase.COOLING, reading, 0.0, self._rest_s
        why = f"; {reading.throttled}" if reading.throttled else ""
        return self._rest(
            time_left_s,
            f"the reference cell is {-change:.1%} slower than at the beginning (threshold {self.threshold:.1%}"
            f"{self._warmth(reading)}){why}: cooling down",
        )

    def _cool(self, reading: Reading, change: float, time_left_s: float) -> Decision:
        assert self._first_off is not None
        suspect = _suspect(self._first_off, reading, self.change(self._first_off))
        waited = format_duration(self._waited_s)
        if change >= -self.threshold:
            self._phase = Phase.WATCHING
            self._good.append(reading)
            return Decision(
                suspect=suspect,
                remeasure=True,
                message=f"the reference cell is back after {waited} ({change:+.1%}{self._warmth(reading)})",
            )
        if self._waited_s >= self._limit_s or time_left_s <= 0:
            self._phase = Phase.GIVEN_UP
            return Decision(
                suspect=suspect,
                message=f"the reference cell is still {-change:.1%} slower after {waited}{self._warmth(reading)}: "
                f"rounds stay marked {suspect.name} until it is back; cool the device or plug in its supply, then run "
                "the same command again with --cooldown 60s",
            )
        return self._rest(time_left_s, f"the reference cell is still {-change:.1%} slower after {waited}: cooling down")

    def _rest(self, time_left_s: float, message: str) -> Decision:
        rest_s = max(0.0, min(self._next_rest_s, self._limit_s - self._waited_s, time_left_s))
        self._waited_s += rest_s
        self._next_rest_s *= 2
        return Decision(measure=True, rest_s=rest_s, message=message)

    def _reopen(self, reading: Reading, change: float) -> Decision:
        assert self._first_off is not None
        before = self.threshold
        self._good = [self._first_off, reading]
        self._level_ns = median([each.median_ns for each in self._good])
        self._phase = Phase.WATCHING
        return Decision(
            suspect=Doubt(
                name="drifting",
                message=f"the reference cell was {change:.1%} faster after these rounds than at the beginning",
                slowdown=1 + change,
            ),
            all_rounds=True,
            remeasure=True,
            message=f"the reference cell is {change:.1%} faster than at the beginning (threshold {before:.1%}), which "
            "was disturbed: from here on it is compared with its new speed",
        )

    def _warmth(self, reading: Reading) -> str:
        if reading.temperature_c is None:
            return ""
        opening = "" if self._opening_c is None else f" after {self._opening_c:.0f} °C at the beginning"
        return f", {reading.temperature_c:.0f} °C{opening}"


def _suspect(first: Reading, last: Reading, change: float) -> Doubt:
    throttled = first.throttled or last.throttled
    cause = f" ({throttled})" if throttled else ""
    return Doubt(
        name="throttled" if throttled else "drifting",
        message=f"the reference cell was {-change:.1%} slower after these rounds than at the beginning{cause}",
        slowdown=1 / (1 + change),
    )


def _noise(good: Sequence[Reading]) -> float:
    """Return the larger relative deviation of two: between repetitions within a run, and from one run to the next."""
    squares, degrees = 0.0, 0
    for reading in good:
        logs = [math.log(time_ns) for time_ns in reading.times_ns if time_ns > 0]
        if len(logs) > 1:
            mean = sum(logs) / len(logs)
            squares += sum((each - mean) ** 2 for each in logs)
            degrees += len(logs) - 1
    within = squares / degrees if degrees else 0.0
    medians = [math.log(reading.median_ns) for reading in good if reading.median_ns > 0]
    # Successive differences: a slow drift below the threshold must not widen it.
    steps = [(later - earlier) ** 2 / 2 for earlier, later in itertools.pairwise(medians)]
    between = sum(steps) / len(steps) if steps else 0.0
    return math.sqrt(max(within, between))
