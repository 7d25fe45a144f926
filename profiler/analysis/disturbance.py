"""What disturbed rounds from outside: a limited clock, other programs on the CPU, pages read from disk, swap.

One predicate for a sweep, a pick and the flags: `disturbances_of` names what disturbed a round, and `slowdown_of`
bounds what that can have cost. Each fact is counted over the repetitions of one or more rounds.
"""

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

from profiler.records.round import Conditions, Round
from quant.base.units import format_bytes

# A clock that falls by a tenth below the cell's own best is a limit, not the governor's jitter.
_CLOCK_DROP = 0.10
# Other programs took more than a tenth of one CPU during the repetitions.
_FOREIGN_SHARE = 0.10
# The counters of all CPUs tick in hundredths of a second, and their readings err by up to three of them.
_COARSE_NS = 30_000_000
_NS_PER_S = 1e9
_MIN_SWAP_BYTES = 1 << 20
# What is read at once where a page is missing. Source: Linux's default of /sys/block/*/queue/read_ahead_kb, 128.
_READ_AHEAD_BYTES = 128 << 10


class Pairs(NamedTuple):
    """The conditions before and after each repetition."""

    before: list[Conditions]
    after: list[Conditions]


class Foreign(NamedTuple):
    """The CPUs that others used on average."""

    cpus: float
    stolen: float  # of these, what the host took


def pairs_of(rounds: Sequence[Round]) -> Pairs:
    """Return the conditions around all repetitions of some rounds."""
    samples = [sample for record in rounds for sample in record.samples]
    return Pairs([sample.before for sample in samples], [sample.after for sample in samples])


def _growth(pairs: Pairs, field: str) -> int | None:
    """Add up what a cumulative counter gained during the repetitions; None where the system does not count."""
    read = operator.attrgetter(field)
    starts, ends = list(map(read, pairs.before)), list(map(read, pairs.after))
    if None in starts or None in ends:
        known = [each for each in zip(starts, ends, strict=True) if None not in each]
        starts, ends = [start for start, _ in known], [end for _, end in known]
    return sum(ends) - sum(starts) if ends else None


def best_mhz_of(rounds: Sequence[Round]) -> float | None:
    """Return the highest clock after any repetition; None where it is not known."""
    return max((clock for record in rounds for clock in _clocks(record)), default=None)


def _clocks(record: Round) -> list[float]:
    clocks = [sample.after.mhz for sample in record.samples]
    return [clock for clock in clocks if clock is not None and clock > 0]


def throttling_of(rounds: Sequence[Round], best_mhz: float | None = None, pairs: Pairs | None = None) -> str | None:
    """Return how a limit showed: by the system's flags, the CPU's counter or the clock; None where none did.

    Args:
        rounds: the rounds.
        best_mhz: of the cell; None: the best of these rounds.
        pairs: the rounds' conditions, where they are known.
    """
    pairs = pairs or pairs_of(rounds)
    hit = [
        {*before.throttle, *after.throttle}
        for before, after in zip(*pairs, strict=True)
        if before.throttle or after.throttle
    ]
    if hit:
        raised = ", ".join(sorted(set().union(*hit)))
        return f"the system reports {raised} in {len(hit)} of {len(pairs.after)} repetitions"
    if events := _growth(pairs, "throttle_count"):
        return f"the CPU counted {events} thermal events during the measurement"
    clocks = [clock for record in rounds for clock in _clocks(record)]
    best = best_mhz or max(clocks, default=0.0)
    if clocks and min(clocks) < (1 - _CLOCK_DROP) * best:
        return f"the clock fell from {best:.0f} to {min(clocks):.0f} MHz"
    return None


def foreign_of(rounds: Sequence[Round], pairs: Pairs | None = None) -> Foreign | None:
    """Return what others used of the CPUs; None where that is little, or where the system does not count."""
    pairs = pairs or pairs_of(rounds)
    all_ns, own_ns = _growth(pairs, "busy_ns"), _growth(pairs, "process_cpu_ns")
    stolen_ns = _growth(pairs, "steal_ns") or 0
    # The counters also cover what lies between the readings and the timed steps; older records do not say how long.
    between_ns = _growth(pairs, "clock_ns") or sum(sample.timed_ns for record in rounds for sample in record.samples)
    if all_ns is None or own_ns is None or not between_ns:
        return None
    foreign_ns = max(0, all_ns - own_ns + stolen_ns)
    if foreign_ns <= _FOREIGN_SHARE * between_ns or foreign_ns <= _COARSE_NS * len(rounds):
        return None
    return Foreign(foreign_ns / between_ns, stolen_ns / between_ns)


def pages_read(rounds: Sequence[Round], pairs: Pairs | None = None) -> int:
    """Return how often a page had to be read from disk."""
    return max(0, _growth(pairs or pairs_of(rounds), "major_faults") or 0)


def swapping_of(rounds: Sequence[Round], pairs: Pairs | None = None) -> str | None:
    """Return how swap was used; None where it was not."""
    own = _own_swap_bytes(rounds)
    if own > _MIN_SWAP_BYTES:
        return f"{format_bytes(own)} of the worker were in swap"
    grown = _growth(pairs or pairs_of(rounds), "swap_used_bytes")
    if grown is not None and grown > _MIN_SWAP_BYTES:
        return f"swap grew by {format_bytes(grown)} during the measurement"
    return None


def _own_swap_bytes(rounds: Sequence[Round]) -> int:
    return max((memory.swap_bytes or 0 for record in rounds for memory in record.memory.values()), default=0)


def disturbances_of(record: Round, best_mhz: float | None = None) -> tuple[str, ...]:
    """Name what disturbed a round, by the flags' names; `best_mhz` is its cell's."""
    one = [record]
    pairs = pairs_of(one)  # once: this is asked of every round that is read
    found = {
        "throttled": throttling_of(one, best_mhz, pairs),
        "swapping": swapping_of(one, pairs),
        "busy": foreign_of(one, pairs),
        "paging": pages_read(one, pairs),
    }
    return tuple(name for name, fact in found.items() if fact)


def slowdown_of(record: Round, best_mhz: float | None = None) -> float:
    """Return how many times as fast a round can have been at most without its disturbances; infinite without a bound.

    While others run anywhere, all threads may wait at a barrier for the one that was displaced; so f CPUs of others
    cost at most the share f of the time. A clock costs at most its ratio to the best one. What a page that is read
    costs, or swap, or a limit of which no clock is known, has no bound.
    """
    names = disturbances_of(record, best_mhz)
    if "swapping" in names or "paging" in names:
        return math.inf
    factor = 1.0
    if "throttled" in names:
        clocks = _clocks(record)
        best = best_mhz or max(clocks, default=0.0)
        fell = bool(clocks) and min(clocks) < (1 - _CLOCK_DROP) * best
        factor = best / min(clocks) if fell else math.inf
    if record.doubt is not None:
        factor = max(factor, record.doubt.slowdown or math.inf)
    foreign = foreign_of([record])
    if foreign is not None:
        factor *= 1 / (1 - foreign.cpus) if foreign.cpus < 1 else math.inf
    return factor


def hidden_bytes_of(rounds: Sequence[Round]) -> int:
    """Return the memory that the largest resident size can lack at most: what was in swap, or read again from disk."""
    return _own_swap_bytes(rounds) + _READ_AHEAD_BYTES * max((pages_read([record]) for record in rounds), default=0)


def is_quieter(one: Round, other: Round) -> bool:
    """Return whether one of two records of the same round was disturbed less: by what that can explain."""
    best = best_mhz_of([one, other])
    return _severity(one, best) < _severity(other, best)


def _severity(record: Round, best_mhz: float | None) -> tuple[float, int, float]:
    foreign = foreign_of([record])
    return slowdown_of(record, best_mhz), hidden_bytes_of([record]), foreign.cpus if foreign else 0.0
