"""The anchor: one cheap cell, measured again and again, that tells whether the device still has its first speed.

Pure: readings in, decisions out. guard.py measures, rests, marks and writes.

    opening     two runs; their middle is the level that all later runs are compared with
    watching    a run within the threshold is good; a slower one begins a cool-down, a faster one is checked by a second
    cooling     rest, measure, rest longer, ... until the anchor is back, or the limit of waiting is reached
    given up    no more waiting in this sweep; what is measured while the anchor is off stays marked

The threshold is three times the anchor's own noise, at least 3 % and at most 20 %. When the device slowed down, the
rounds since the last good run are in doubt; when it proves faster than at its opening, all rounds of this sweep are.
"""

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence

import msgspec

from profiler.analysis.stats import median
from profiler.records.config import Cell
from profiler.records.record import Doubt, Round
from quant.base.units import format_duration
from quant.gguf_io.artifact import Artifact

N_OPENING = 2
LEAST_CHANGE, MOST_CHANGE = 0.03, 0.20
_NOISES = 3.0
# What the anchor may add to the time of a sweep, by estimate: where it would add more it is measured less often.
MAX_SHARE = 0.10
# Shorter than this, a run tells more about the system's scheduler than about the device's clock.
LEAST_TIMED_NS = 200_000_000
REST_S, REST_LIMIT_S = 10.0, 120.0

# For ranking cells and bounding the anchor's share only: bytes per second of one thread, and how much of a generated
# token's time one of a prompt takes.
_BYTES_PER_S, _PREFILL_SHARE, _START_S = 10e9, 0.1, 1.0


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the anchor: the timed part of each repetition, and what the system said meanwhile."""

    times_ns: tuple[int, ...]
    throttled: str | None = None  # the system's own word for it
    temperature_c: float | None = None

    @property
    def middle_ns(self) -> float:
        """The median repetition."""
        return median(self.times_ns)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What to do after a reading."""

    measure: bool = False  # the anchor once more, after `rest_s`
    rest_s: float = 0.0
    doubt: Doubt | None = None  # of the rounds since the last good reading
    all_rounds: bool = False  # of all rounds of this sweep
    repeat: bool = False  # measure those rounds again
    say: str | None = None


class Anchor:
    """Decide from each reading what comes next."""

    def __init__(
        self, *, opening: Sequence[Reading] = (), rest_s: float = REST_S, limit_s: float = REST_LIMIT_S
    ) -> None:
        self._rest_s, self._limit_s = rest_s, limit_s
        self._good: list[Reading] = list(opening)
        self._level_ns = median([each.middle_ns for each in opening[:N_OPENING]]) if opening else 0.0
        self._began_c = opening[0].temperature_c if opening else None
        self._state = "watching" if len(opening) >= N_OPENING else "opening"
        self._waited_s = self._next_rest_s = 0.0
        self._first_off: Reading | None = None

    @property
    def threshold(self) -> float:
        """The change of speed that is more than the anchor's noise."""
        return min(max(LEAST_CHANGE, _NOISES * _noise(self._good)), MOST_CHANGE)

    def change(self, reading: Reading) -> float:
        """Give the speed against the opening's: -0.1 is a tenth slower."""
        return self._level_ns / reading.middle_ns - 1

    def hear(self, reading: Reading, time_left_s: float = math.inf) -> Step:
        """Take a reading and decide; no rest is longer than the time that is left."""
        if self._state == "opening":
            return self._open(reading)
        change = self.change(reading)
        if self._state == "cooling":
            return self._cool(reading, change, time_left_s)
        if self._state == "confirming" and change > self.threshold:
            return self._reopen(reading, change)
        if change < -self.threshold:
            return self._slower(reading, change, time_left_s)
        if change > self.threshold and self._state != "given up":
            self._state, self._first_off = "confirming", reading
            return Step(measure=True)
        recovered = self._state == "given up"
        self._state = "watching"
        self._good.append(reading)
        if recovered:
            doubt = Doubt(name="drifting", message="the anchor came back to its speed during these rounds")
            return Step(doubt=doubt, repeat=True, say=f"the anchor is back ({change:+.1%})")
        return Step()

    def _open(self, reading: Reading) -> Step:
        self._good.append(reading)
        if len(self._good) < N_OPENING:
            return Step(measure=True)
        self._level_ns = median([each.middle_ns for each in self._good])
        self._began_c = self._good[0].temperature_c
        self._state = "watching"
        return Step()

    def _slower(self, reading: Reading, change: float, time_left_s: float) -> Step:
        if self._state == "given up":
            return Step(doubt=_doubt(reading, reading, change))
        self._state, self._first_off, self._waited_s, self._next_rest_s = "cooling", reading, 0.0, self._rest_s
        why = f"; {reading.throttled}" if reading.throttled else ""
        words = f"the anchor runs {-change:.1%} slower than at the beginning (threshold {self.threshold:.1%}"
        return self._rest(time_left_s, f"{words}{self._warmth(reading)}){why}: cooling down")

    def _cool(self, reading: Reading, change: float, time_left_s: float) -> Step:
        assert self._first_off is not None
        doubt = _doubt(self._first_off, reading, self.change(self._first_off))
        waited = format_duration(self._waited_s)
        if change >= -self.threshold:
            self._state = "watching"
            self._good.append(reading)
            return Step(
                doubt=doubt,
                repeat=True,
                say=f"the anchor is back after {waited} ({change:+.1%}{self._warmth(reading)})",
            )
        if self._waited_s >= self._limit_s or time_left_s <= 0:
            self._state = "given up"
            words = f"the anchor still runs {-change:.1%} slower after {waited}{self._warmth(reading)}"
            return Step(
                doubt=doubt,
                say=f"{words}: rounds stay marked {doubt.name} until it is back; cool the device or plug its supply "
                "in, then run the same command again with --cooldown 60s",
            )
        return self._rest(time_left_s, f"the anchor is still {-change:.1%} slower after {waited}: cooling down")

    def _rest(self, time_left_s: float, say: str) -> Step:
        rest_s = max(0.0, min(self._next_rest_s, self._limit_s - self._waited_s, time_left_s))
        self._waited_s += rest_s
        self._next_rest_s *= 2
        return Step(measure=True, rest_s=rest_s, say=say)

    def _reopen(self, reading: Reading, change: float) -> Step:
        assert self._first_off is not None
        before = self.threshold
        self._good = [self._first_off, reading]
        self._level_ns = median([each.middle_ns for each in self._good])
        self._state = "watching"
        message = f"the anchor ran {change:.1%} faster after these rounds than at the beginning"
        return Step(
            doubt=Doubt(name="drifting", message=message),
            all_rounds=True,
            repeat=True,
            say=f"the anchor runs {change:.1%} faster than at the beginning (threshold {before:.1%}), which was "
            "disturbed: from here on it is compared with its new speed",
        )

    def _warmth(self, reading: Reading) -> str:
        if reading.temperature_c is None:
            return ""
        began = "" if self._began_c is None else f" after {self._began_c:.0f} °C at the beginning"
        return f", {reading.temperature_c:.0f} °C{began}"


def _doubt(first: Reading, last: Reading, change: float) -> Doubt:
    word = first.throttled or last.throttled
    cause = f" ({word})" if word else ""
    return Doubt(
        name="throttled" if word else "drifting",
        message=f"the anchor ran {-change:.1%} slower after these rounds than at the beginning{cause}",
    )


def _noise(good: Sequence[Reading]) -> float:
    """Give the larger relative deviation of the two: of repetitions within a run, and of one run from the next."""
    squares, degrees = 0.0, 0
    for reading in good:
        logs = [math.log(time_ns) for time_ns in reading.times_ns if time_ns > 0]
        if len(logs) > 1:
            mean = sum(logs) / len(logs)
            squares += sum((each - mean) ** 2 for each in logs)
            degrees += len(logs) - 1
    within = squares / degrees if degrees else 0.0
    middles = [math.log(reading.middle_ns) for reading in good if reading.middle_ns > 0]
    # Successive differences: a slow drift that was let pass must not make the threshold wider.
    steps = [(later - earlier) ** 2 / 2 for earlier, later in itertools.pairwise(middles)]
    between = sum(steps) / len(steps) if steps else 0.0
    return math.sqrt(max(within, between))


def reading_of(record: Round, throttled: str | None = None) -> Reading | None:
    """Make a reading of a round; None where it holds no time."""
    times = tuple(sample.timed_ns for sample in record.samples if sample.timed_ns)
    warm = [sample.after.temperature_c for sample in record.samples if sample.after.temperature_c is not None]
    return Reading(times_ns=times, throttled=throttled, temperature_c=max(warm, default=None)) if times else None


def cost_s(artifact: Artifact, cell: Cell, reps: int) -> float:
    """Estimate what a process of a cell takes, roughly: it ranks cells, and bounds the anchor's share."""
    config = cell.config
    step_s = artifact.tensor_bytes / _BYTES_PER_S
    prefill_s = _PREFILL_SHARE * step_s * config.n_prompt / config.n_threads_batch
    deep_s = _PREFILL_SHARE * step_s * config.n_depth / config.n_threads_batch
    decode_s = step_s * config.n_gen / config.n_threads
    return _START_S + 10 * step_s + deep_s + (1 + reps) * prefill_s + reps * decode_s


def rank(cells: Iterable[Cell], cost_of: Callable[[Cell], float], seed: int) -> list[Cell]:
    """Order the cells by what a run of theirs takes, the cheapest first; the seed decides between equals."""
    ordered = sorted(cells, key=lambda cell: cell.key)
    random.Random(f"anchor:{seed}").shuffle(ordered)
    return sorted(ordered, key=cost_of)


def spacing(turn_costs_s: Sequence[float], n_rounds: int, anchor_cost_s: float) -> int | None:
    """Give after how many rounds the anchor is measured; None where it would take more than its share of the sweep."""
    for every in range(1, n_rounds + 1):
        n_runs = N_OPENING + math.ceil(n_rounds / every)
        if n_runs * anchor_cost_s <= MAX_SHARE * sum(turn_costs_s):
            return every
    return None
