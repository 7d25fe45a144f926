"""Joules per token and per request, from the raw counters and samples of a round. What is not known is None.

Nothing is subtracted: the figure holds what the device takes when idle, and what other programs took meanwhile.
"""

from collections.abc import Sequence

from profiler.analysis.stats import median
from profiler.records.energy import EnergySpan, EnergyTrace
from profiler.records.round import Round

# RAPL's counters move once a millisecond, so a hundred of them leave an error of one percent at most.
# Source: the Intel SDM, volume 3B, 15.10.3: energy status is updated about every millisecond.
_LEAST_COUNTED_NS = 100_000_000
_LEAST_SAMPLES = 3
_NS_PER_S, _UJ_PER_J = 1e9, 1e6


def joules_per_token_of(record: Round) -> float | None:
    """Return a round's joules per decoded token, the median over its repetitions."""
    if record.energy is None:
        return None
    n_gen = record.cell.config.n_gen
    found = [
        joules
        for sample in record.samples
        if (joules := joules_of(sample.decode_energy, record.energy)) is not None and len(sample.decode_ns) == n_gen
    ]
    return median(found) / n_gen if found and n_gen else None


def joules_per_request_of(record: Round) -> float | None:
    """Return the joules of a round's request, prefill and decode, the median over its repetitions."""
    found = [
        joules for sample in record.samples if (joules := joules_of(sample.request_energy, record.energy)) is not None
    ]
    return median(found) if found else None


def watts_of(record: Round) -> float | None:
    """Return the power while a round was timed, the median over its repetitions."""
    spans = [span for sample in record.samples if (span := sample.request_energy or sample.decode_energy)]
    found = [
        joules * _NS_PER_S / (span.after.at_ns - span.before.at_ns)
        for span in spans
        if (joules := joules_of(span, record.energy)) is not None
    ]
    return median(found) if found else None


def energy_in_words(rounds: Sequence[Round], *, is_known: bool) -> tuple[str | None, str | None]:
    """Return where the energy of a cell's rounds comes from and how it is sampled; and, where it is not known, why.

    Both are fields of an export, so their words stay.
    """
    traced = [record for record in rounds if record.energy is not None]
    if not traced:
        return None, "no source of energy was found when it was measured; slmprof doctor says why" if rounds else None
    trace = traced[0].energy
    assert trace is not None
    how = "read before and after decode" if trace.interval_ms is None else f"a sample every {trace.interval_ms} ms"
    source = f"{trace.source} ({trace.covers}), {how}"
    if is_known or not traced[0].cell.config.n_gen:
        return source, None
    least = f"{_LEAST_COUNTED_NS // 10**6} ms" if trace.interval_ms is None else f"{_LEAST_SAMPLES} samples"
    return (
        source,
        f"decode was too short for {trace.source}, which needs {least}, or its figures stood still; raise -n",
    )


def joules_of(span: EnergySpan | None, trace: EnergyTrace | None) -> float | None:
    """Return the energy of one decode; None where it was too short for the source."""
    if span is None or trace is None:
        return None
    if trace.interval_ms is None:
        return _counted(span, trace)
    took_ns = span.after.at_ns - span.before.at_ns
    within = [
        watts
        for at_ns, watts in zip(trace.at_ns, trace.watts, strict=False)
        if span.before.at_ns <= at_ns <= span.after.at_ns
    ]
    return sum(within) / len(within) * took_ns / _NS_PER_S if len(within) >= _LEAST_SAMPLES else None


def _counted(span: EnergySpan, trace: EnergyTrace) -> float | None:
    before, after = span.before.counters_uj, span.after.counters_uj
    if span.after.at_ns - span.before.at_ns < _LEAST_COUNTED_NS or not before or set(before) != set(after):
        return None
    total = 0
    for zone, start_uj in before.items():
        gained = after[zone] - start_uj
        if gained < 0:
            # The counter wrapped. It holds minutes of full load at least, so it did so once.
            gained += trace.ranges_uj.get(zone, 0)
        if gained < 0:
            return None
        total += gained
    # A virtual machine may show counters that never move.
    return total / _UJ_PER_J if total else None
