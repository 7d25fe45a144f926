"""From a round's record to what a race is fed with."""

from profiler.analysis.disturbance import disturbances_of
from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.rates import rates_of, ttft_ms_of
from profiler.pick.records import Observed
from profiler.records.round import Round

_NS_PER_S = 1e9


def observed_of(record: Round) -> Observed:
    """Return what a round that went well measured, and whether it was disturbed."""
    rates = rates_of(record)
    return Observed(
        decode_tps=rates.decode,
        prefill_tps=rates.prefill,
        ttft_ms=ttft_ms_of(record),
        model_rss_bytes=model_rss_of(record.memory),
        wall_s=(record.wall_ns or 0) / _NS_PER_S,
        disturbed=bool(disturbances_of(record)),
    )
