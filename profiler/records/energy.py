"""The records of energy: raw counters and samples, with where they come from. Joules are derived in profiler/joules.

Two kinds of source. A counter (RAPL) is read by the measured process right before the first decode step of a repetition
and right after the last one, and in a request before its prefill. A power sensor (a Pi 5's PMIC, a Jetson's INA3221,
powermetrics) is sampled by a thread of the parent, outside of the measured process; the repetition notes on the same
monotonic clock when these moments were. In both the interval covers what is timed and nothing else, but all that the
device did meanwhile.
"""

import msgspec

from quant.base.ints import Count


class EnergyReading(msgspec.Struct, frozen=True, kw_only=True):
    """One moment, on the monotonic clock that all processes of a machine share."""

    at_ns: Count
    counters_uj: dict[str, Count] = {}  # zone -> microjoules, cumulative; empty for a source that is sampled


class EnergySpan(msgspec.Struct, frozen=True, kw_only=True):
    """Around the decode steps of one repetition."""

    before: EnergyReading
    after: EnergyReading


class EnergyTrace(msgspec.Struct, frozen=True, kw_only=True):
    """Where a round's energy comes from, and the samples of a source that is sampled."""

    source: str  # "RAPL" | "Pi 5 PMIC" | "INA3221" | "powermetrics"
    covers: str  # which part of the device
    interval_ms: Count | None = None  # between samples; None for a counter
    ranges_uj: dict[str, Count] = {}  # zone -> where its counter wraps to 0
    at_ns: tuple[Count, ...] = ()
    watts: tuple[float, ...] = ()
