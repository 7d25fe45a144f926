"""A source of energy readings."""

from collections.abc import Callable

import msgspec


class Meter(msgspec.Struct, frozen=True, kw_only=True):
    """A source; exactly one of the two functions is set."""

    source: str
    covers: str
    interval_ms: int | None = None  # between samples; None for a counter
    ranges_uj: dict[str, int] = {}  # at which each counter wraps
    read_counters_uj: Callable[[], dict[str, int]] | None = None  # called in the measured process: some microseconds
    read_watts: Callable[[], float | None] | None = None  # called in the parent: may start a process


class NoMeter(msgspec.Struct, frozen=True):
    """No source, and why."""

    reason: str
