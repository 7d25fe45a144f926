"""The figures that are compared, and how their changes are called."""

from collections.abc import Callable

import msgspec

from profiler.analysis.joules import joules_per_token_of
from profiler.analysis.memory_parts import model_rss_of
from profiler.analysis.rates import decode_tps_of, prefill_tps_of, ttft_ms_of
from profiler.records.round import Round


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a round."""

    name: str  # its field in `export --format json`
    title: str
    value_of: Callable[[Round], float | None]
    up: str  # what a larger value is
    down: str
    speed: bool  # a change of it can be a slow-down
    higher_is_better: bool


def _rss(record: Round) -> float | None:
    return model_rss_of(record.memory)


FIGURES = (
    Figure(name="prefill_tps", title="prefill", value_of=prefill_tps_of, up="faster", down="slower",
           speed=True, higher_is_better=True),
    Figure(name="decode_tps", title="decode", value_of=decode_tps_of, up="faster", down="slower",
           speed=True, higher_is_better=True),
    Figure(name="ttft_ms", title="first token", value_of=ttft_ms_of, up="later", down="sooner",
           speed=True, higher_is_better=False),
    Figure(name="model_rss_bytes", title="memory", value_of=_rss, up="more", down="less",
           speed=False, higher_is_better=False),
    Figure(name="joules_per_token", title="energy per token", value_of=joules_per_token_of, up="more", down="less",
           speed=False, higher_is_better=False),
)  # fmt: skip
BY_NAME = {figure.name: figure for figure in FIGURES}
