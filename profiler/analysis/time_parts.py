"""Where a sweep's time went: how much of it was measuring, and what the rest was spent on.

timed            prefill, choosing a token, decode: what the figures are made of
start            spawning the worker, Python, importing numpy and llama.cpp
load, context    opening the model, making its context
warm-up          a whole prefill and some decode steps, which no figure counts, and filling the cache to a depth
other            reading memory and conditions, emptying or restoring the cache, ending the worker
drift control    measuring the reference cell
between          the parent between two rounds: writing the record, and the rest that --cooldown asks for
"""

from collections.abc import Sequence

import msgspec

from profiler.records.round import Round
from quant.base.units import format_duration

_NS_PER_S = 1e9


class TimeParts(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds of a sweep by what they were spent on."""

    timed_ns: int
    start_ns: int
    load_ns: int
    context_ns: int
    warmup_ns: int
    other_ns: int
    drift_ns: int
    between_ns: int

    @property
    def total_ns(self) -> int:
        """All of it."""
        return sum(msgspec.structs.astuple(self))

    @property
    def outside_share(self) -> float:
        """The share of the time that was not spent on timed steps."""
        return 1 - self.timed_ns / self.total_ns if self.total_ns else 0.0


def time_parts(rounds: Sequence[Round], took_ns: int | None = None, drift_ns: int = 0) -> TimeParts:
    """Add up the time of rounds that went well.

    Args:
        took_ns: of the whole sweep, where it is known.
        drift_ns: of drift control's own rounds.
    """
    ok = [record for record in rounds if record.status == "ok" and record.wall_ns is not None]
    wall_ns = sum(record.wall_ns or 0 for record in ok)
    timed_ns = sum(sample.timed_ns for record in ok for sample in record.samples)
    start_ns = sum(record.start_ns or 0 for record in ok)
    load_ns = sum(record.load_ns or 0 for record in ok)
    context_ns = sum(record.context_ns or 0 for record in ok)
    warmup_ns = sum(record.warmup_ns or 0 for record in ok)
    lost_ns = sum(record.wall_ns or 0 for record in rounds if record.status != "ok")
    return TimeParts(
        timed_ns=timed_ns,
        start_ns=start_ns,
        load_ns=load_ns,
        context_ns=context_ns,
        warmup_ns=warmup_ns,
        other_ns=max(0, wall_ns - timed_ns - start_ns - load_ns - context_ns - warmup_ns),
        drift_ns=drift_ns,
        between_ns=0 if took_ns is None else max(0, took_ns - wall_ns - lost_ns - drift_ns),
    )


def describe_time(parts: TimeParts) -> str | None:
    """Write one line for the end of a sweep; None where nothing was measured."""
    if not parts.timed_ns:
        return None
    total_ns = parts.total_ns
    shares = {
        "warm-up": parts.warmup_ns,
        "load": parts.load_ns,
        "context": parts.context_ns,
        "start of workers": parts.start_ns,
        "drift control": parts.drift_ns,
        "between rounds": parts.between_ns,
        "other": parts.other_ns,
    }
    shares_text = ", ".join(f"{name} {100 * spent_ns / total_ns:.1f} %" for name, spent_ns in shares.items())
    total = format_duration(total_ns / _NS_PER_S)
    return f"{100 * parts.outside_share:.0f} % of {total} went outside timed steps: {shares_text}"
