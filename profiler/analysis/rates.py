"""Tokens per second and the time to first token, from the times of a round.

The value of a round is that of the median over its repetitions.
"""

from typing import NamedTuple

from profiler.analysis.stats import median
from profiler.records.round import Round

_NS_PER_S = 1e9
_NS_PER_MS = 1e6


class Rates(NamedTuple):
    """A round's tokens per second; None where nothing was timed."""

    prefill: float | None
    decode: float | None
    prefill_each: list[float]  # of each repetition that timed one
    decode_each: list[float]


def rates_of(record: Round) -> Rates:
    """Return a round's prompt and generated tokens per second."""
    config = record.cell.config
    prefill_ns = [sample.prefill_ns for sample in record.samples if sample.prefill_ns] if config.n_prompt else []
    decode_ns = [sample.decode_total_ns for sample in record.samples] if config.n_gen else []
    if not all(decode_ns):
        decode_ns = [took_ns for took_ns in decode_ns if took_ns]
    n_prompt, n_gen = config.n_prompt * _NS_PER_S, config.n_gen * _NS_PER_S
    return Rates(
        n_prompt / median(prefill_ns) if prefill_ns else None,
        n_gen / median(decode_ns) if decode_ns else None,
        [n_prompt / took_ns for took_ns in prefill_ns],
        [n_gen / took_ns for took_ns in decode_ns],
    )


def prefill_tps_of(record: Round) -> float | None:
    """Return a round's prompt tokens per second; None where no prefill was timed."""
    return rates_of(record).prefill


def decode_tps_of(record: Round) -> float | None:
    """Return a round's generated tokens per second; None where no decode was timed."""
    return rates_of(record).decode


def ttft_ms_of(record: Round) -> float | None:
    """Return a round's time to first token: prefill and the choice of the token. None in separate mode."""
    times = [
        sample.prefill_ns + sample.sample_ns
        for sample in record.samples
        if sample.prefill_ns is not None and sample.sample_ns is not None
    ]
    return median(times) / _NS_PER_MS if times else None
