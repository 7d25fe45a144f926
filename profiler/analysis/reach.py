"""How far the figures of a flagged cell may be from undisturbed ones: its intervals, widened by what was observed.

Every round's rate is raised by the most that its disturbances can have cost (disturbance.py), and the median's interval
of those rates is the upper end; the lower end stays, since nothing here makes a cell faster than it is. A trend over
the rounds widens both ends by its own size. Flags that name a setting (oversubscribed, ignored) or the scatter itself
(noisy) widen nothing: the figure is that of the setting, and the scatter is in the interval already.
"""

import math
from collections.abc import Collection, Sequence

from profiler.analysis.disturbance import best_mhz_of, foreign_of, hidden_bytes_of, slowdown_of
from profiler.analysis.rates import Rates, rates_of, ttft_ms_of
from profiler.analysis.stats import span_of
from profiler.analysis.threads_ran import cpus_allowed, cpus_got
from profiler.analysis.trend import find_trend
from profiler.records.cell_summary import Reach, Reaches
from profiler.records.environment import Environment
from profiler.records.round import Round

_EXPLAINED = {"throttled", "drifting", "swapping", "busy", "paging", "starved"}


def reaches_of(
    rounds: Sequence[Round],
    environment: Environment | None,
    flags: Collection[str],
    rates: Sequence[Rates] | None = None,
    target: float | None = None,
) -> Reaches | None:
    """Return where the undisturbed figures of a cell may lie; None where no flag of it explains another figure."""
    if not _EXPLAINED & set(flags):
        return None
    rates = rates or list(map(rates_of, rounds))
    best = best_mhz_of(rounds)
    starved = _starved(rounds, environment) if "starved" in flags else 1.0
    factors = [_times(record, slowdown_of(record, best), starved) for record in rounds]
    trends = _trends(rounds, rates) if "drifting" in flags else {}
    if "drifting" in flags and not trends and all(record.doubt is None for record in rounds):
        factors = [math.inf] * len(factors)  # another governor or power source midway: its speed is not known
    per_ms = [1 / took_ms if (took_ms := ttft_ms_of(record)) else None for record in rounds]
    prefill = _reach([each.prefill for each in rates], factors, trends.get("prefill", 0.0), target)
    decode = _reach([each.decode for each in rates], factors, trends.get("decode", 0.0), target)
    ttft = _reach(per_ms, factors, trends.get("prefill", 0.0), target)
    return Reaches(
        prefill_tps=prefill,
        decode_tps=decode,
        ttft_ms=None if ttft is None else Reach(1 / ttft.hi if ttft.hi else 0.0, 1 / ttft.lo if ttft.lo else None),
        hidden_bytes=hidden_bytes_of(rounds) if {"swapping", "paging"} & set(flags) else 0,
    )


def _reach(
    values: Sequence[float | None], factors: Sequence[float], trend: float, target: float | None
) -> Reach | None:
    valued = [(value, value * factor) for value, factor in zip(values, factors, strict=True) if value]
    measured = span_of([value for value, _ in valued], target)
    undisturbed = span_of([most for _, most in valued], target)
    if measured is None or undisturbed is None:
        return None
    most = undisturbed.hi * (1 + trend)
    return Reach(measured.lo * max(0.0, 1 - trend), most if math.isfinite(most) else None)


def _times(record: Round, slowdown: float, starved: float) -> float:
    """Return both factors together; the CPUs that others used and those that the threads lacked are the same ones."""
    return max(slowdown, starved) if foreign_of([record]) else slowdown * starved


def _starved(rounds: Sequence[Round], environment: Environment | None) -> float:
    """Return how many times as fast the threads could have been with a CPU each."""
    got = cpus_got(rounds)
    if got is None or not got.cpus:
        return math.inf
    return max(1.0, min(got.threads, cpus_allowed(environment, rounds[0].cell.config)) / got.cpus)


def _trends(rounds: Sequence[Round], rates: Sequence[Rates]) -> dict[str, float]:
    """Return the change of each rate from the first round to the last, where it counts."""
    ordered = [each for _, each in sorted(zip(rounds, rates, strict=True), key=lambda each: each[0].order)]
    found = {
        "prefill": find_trend([each.prefill_each for each in ordered]),
        "decode": find_trend([each.decode_each for each in ordered]),
    }
    return {name: abs(trend.change) for name, trend in found.items() if trend and trend.counts}
