"""Does a cell keep the limits, and what would have to give where it does not.

A limit counts as kept when the whole interval keeps it: a median on the right side is no promise.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from profiler.recommend.records import Candidate, Limits, Miss
from profiler.records.span import Span
from quant.base.units import GIB, KIB, MIB, format_bytes


class Rule(NamedTuple):
    """One limit: where it stands, what it bounds, and how its figures are written."""

    option: str
    field: str  # of Limits
    bounded: Callable[[Candidate], Span | None]
    is_most: bool  # an upper bound
    typed: Callable[[float], str]
    lacking: str  # what to say where the figure was not measured
    needs: Callable[[float, float], str]  # from the figure and the limit


def typed_bytes(value: float) -> str:
    """Write a size as it is typed."""
    units = (("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("", 1))
    return next(f"{value / size:.0f}{unit}" for unit, size in units if not value % size or size == 1)


def typed_ms(value: float) -> str:
    """Write a time as it is typed."""
    return f"{value / 1000:g}s" if value >= 1000 else f"{value:g}ms"


def kld_span(candidate: Candidate) -> Span | None:
    """Give the divergence with the interval that two standard errors make."""
    if candidate.kld is None:
        return None
    reach = 1.96 * (candidate.kld_se or 0.0)
    return Span(candidate.kld, candidate.kld - reach, candidate.kld + reach, "interval")


RULES = (
    Rule(
        "--max-memory",
        "max_memory_bytes",
        lambda each: each.memory_bytes,
        True,
        typed_bytes,
        "has no memory figure at this context",
        lambda value, limit: f"needs {format_bytes(value - limit)} more",
    ),
    Rule(
        "--min-decode",
        "min_decode_tps",
        lambda each: each.decode_tps,
        False,
        lambda value: f"{value:g}",
        "has no decode",
        lambda value, limit: f"decodes as slowly as {_short(value)} t/s",
    ),
    Rule(
        "--min-prefill",
        "min_prefill_tps",
        lambda each: each.prefill_tps,
        False,
        lambda value: f"{value:g}",
        "has no prefill",
        lambda value, limit: f"prefills as slowly as {_short(value)} t/s",
    ),
    Rule(
        "--max-ttft",
        "max_ttft_ms",
        lambda each: each.ttft_ms,
        True,
        typed_ms,
        "has no time to first token",
        lambda value, limit: f"takes up to {_short(value)} ms to the first token",
    ),
    Rule(
        "--max-kld",
        "max_kld",
        kld_span,
        True,
        lambda value: f"{value:g}",
        "has no measured quality",
        lambda value, limit: f"diverges by up to {value:.3g}",
    ),
)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def asked(limits: Limits) -> list[tuple[Rule, float]]:
    """Give the limits that were set."""
    found = [(rule, getattr(limits, rule.field)) for rule in RULES]
    return [(rule, limit) for rule, limit in found if limit is not None]


def misses(candidate: Candidate, limits: Limits) -> tuple[Miss, ...]:
    """Give the limits that a candidate does not keep."""
    found = []
    for rule, limit in asked(limits):
        span = rule.bounded(candidate)
        if span is None:
            found.append(Miss(option=rule.option, limit=limit, reached=None, relaxed=None, needs=rule.lacking))
            continue
        reached = span.hi if rule.is_most else span.lo
        if reached > limit if rule.is_most else reached < limit:
            relaxed = _rounded(rule, reached)
            needs = rule.needs(reached, limit)
            found.append(Miss(option=rule.option, limit=limit, reached=reached, relaxed=relaxed, needs=needs))
    return tuple(found)


def _rounded(rule: Rule, reached: float) -> float | None:
    """Round a limit to what is easily typed, to the side on which it is kept; None where no limit would be."""
    if rule.field == "max_memory_bytes":
        return float(math.ceil(reached / MIB) * MIB)
    if reached <= 0:
        return None
    rounded = float(f"{reached:.2e}")  # three figures
    if rounded >= reached if rule.is_most else rounded <= reached:
        return rounded
    digit: float = 10.0 ** (math.floor(math.log10(reached)) - 2)
    return float(f"{rounded + (digit if rule.is_most else -digit):.2e}")


def step(miss: Miss) -> float:
    """Give how far a limit would have to give, as the logarithm of a ratio; infinite where that would not help."""
    if miss.relaxed is None or miss.relaxed <= 0 or miss.limit <= 0:
        return math.inf
    return abs(math.log(miss.relaxed / miss.limit))


def typed(option: str, value: float) -> str:
    """Write a limit's value as it is typed."""
    return next(rule.typed(value) for rule in RULES if rule.option == option)


def words(limits: Limits) -> str:
    """Name the limits as they are typed."""
    return ", ".join(f"{rule.option} {rule.typed(limit)}" for rule, limit in asked(limits))
