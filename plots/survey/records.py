"""What the figures show and the questions are answered from: points, shares of operators, memory by context."""

import msgspec

from plots.canvas.chart_input import ChartInput
from plots.canvas.figures import MIB, decode_ms, peak_mib, prefill_ms, ttft_ms
from plots.charts.memory import parts_of
from plots.survey.plan import SurveyModels
from profiler.estimate.estimate import Estimate
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from profiler.records.span import Span

# The error of an estimated peak, of files with synthetic weights. Source: docs/estimated-memory.md.
_MEMORY_ERROR = 0.04
_MS_PER_S = 1000


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One model at one level on this board, measured or predicted; None where a figure is not known."""

    model: str
    arch: str
    level: str
    n_params: int  # unique
    kind: str  # "measured" | "predicted"
    prefill_ms: Span | None = None  # per token
    ttft_ms: Span | None = None
    decode_ms: Span | None = None  # per token
    memory_mib: Span | None = None
    parts_mib: dict[str, float] = {}
    n_rounds: int = 0
    flags: tuple[str, ...] = ()

    @property
    def is_measured(self) -> bool:
        """Whether it was measured here."""
        return self.kind == "measured"


class Shares(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of one phase's time by part of the model, and that of matrix products, each over the observed runs."""

    model: str
    env_id: str
    n_threads: int
    phase: str  # "prefill" | "decode"
    n_runs: int
    shares: dict[str, Span]


class AtContext(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated memory of one model with one size of context."""

    model: str
    n_ctx: int
    parts_mib: dict[str, float]


class Sweeps(msgspec.Struct, frozen=True, kw_only=True):
    """What the rounds of the survey show of throttling: too short each, but many."""

    n_cells: int
    n_throttled: int  # cells with the flag
    n_drifting: int
    hottest_c: float | None
    mhz: tuple[float, float] | None  # smallest and largest mean clock


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a page is made of."""

    points: tuple[Point, ...]  # of figure 7, in the order of parameters
    levels: tuple[Point, ...]  # of figure 8
    predictions: tuple[Point, ...]  # also of what was measured; none where the device is not calibrated
    shares: tuple[Shares, ...]
    contexts: tuple[AtContext, ...]
    sweeps: Sweeps
    sustained: ChartInput | None = None  # sustained loads and their minutes
    models: SurveyModels
    n_threads: int
    environment: Environment
    command: str
    notes: tuple[str, ...]  # what is not measured, and why


def measured_point(cell: CellSummary) -> Point:
    """Return the point of a cell."""
    return Point(
        model=cell.artifact.model,
        arch=cell.artifact.arch,
        level=cell.artifact.level,
        n_params=cell.artifact.n_params,
        kind="measured",
        prefill_ms=prefill_ms(cell),
        ttft_ms=ttft_ms(cell),
        decode_ms=decode_ms(cell),
        memory_mib=peak_mib(cell),
        parts_mib=parts_of(cell) or {},
        n_rounds=cell.rounds,
        flags=cell.flags,
    )


def predicted_point(estimate: Estimate) -> Point:
    """Return the point of an estimate; without speeds where the device is not calibrated."""
    speeds, peak = estimate.speeds, estimate.model_rss_bytes / MIB
    return Point(
        model=estimate.model,
        arch=estimate.sizes.arch,
        level=estimate.level.level,
        n_params=estimate.level.n_params,
        kind="predicted",
        prefill_ms=_ms(speeds.prefill_tps) if speeds else None,
        ttft_ms=speeds.ttft_ms if speeds else None,
        decode_ms=_ms(speeds.decode_tps) if speeds else None,
        memory_mib=Span(peak, peak * (1 - _MEMORY_ERROR), peak * (1 + _MEMORY_ERROR), "estimate"),
        parts_mib=estimated_parts(estimate),
    )


def estimated_parts(estimate: Estimate) -> dict[str, float]:
    """Split an estimated peak into MiB by part, by the names of the memory chart."""
    touched = estimate.sizes.touched_bytes
    known = {
        "weights": estimate.weights_bytes,
        "repacked weights": estimate.level.repacked_bytes,
        "KV cache": estimate.context.kv_cache_bytes,
        "compute buffer": (estimate.context.compute_bytes if touched is None else touched)
        + estimate.context.output_bytes,
        "runtime": estimate.runtime_bytes,
    }
    remainder = estimate.model_rss_bytes - sum(known.values())
    return {name: value / MIB for name, value in {**known, "remainder": max(0, remainder)}.items()}


def best_of(measured: list[Point], predicted: list[Point]) -> tuple[Point, ...]:
    """Return a point of each file, the measured one where there is one; the smallest model first."""
    found = {(each.model, each.level): each for each in (*predicted, *measured)}
    return tuple(sorted(found.values(), key=lambda each: (each.n_params, each.model)))


def _ms(tps: Span) -> Span:
    return Span(_MS_PER_S / tps.value, _MS_PER_S / tps.hi, _MS_PER_S / tps.lo, tps.kind)
