"""One cell's rounds as the figures that people compare: what show, export and every chart read."""

import msgspec

from profiler.records.config import RunConfig
from profiler.records.quality import Mean
from profiler.records.span import Span
from quant.gguf_io.artifact import Artifact


class TokenGaps(msgspec.Struct, frozen=True, gc=False):
    """Milliseconds between tokens that a half, 95 % and 99 % of all decode steps do not exceed."""

    p50_ms: float
    p95_ms: float
    p99_ms: float


class MemoryFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the memory went; medians over rounds, None where a figure is not known."""

    peak_rss_bytes: int | None = None  # of the whole process
    anon_bytes: int | None = None
    file_backed_bytes: int | None = None
    pss_bytes: int | None = None
    weights_bytes: int | None = None
    repacked_bytes: int | None = None
    kv_cache_bytes: int | None = None
    compute_buffer_bytes: int | None = None
    # Of profiler/analysis/memory_parts.py: what closes the sum of the parts.
    mapped_bytes: int | None = None
    output_buffer_bytes: int | None = None
    compute_touched_bytes: int | None = None
    runtime_bytes: int | None = None
    remainder_bytes: int | None = None


class EnergyFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Energy of decode, and of whole requests."""

    joules_per_token: float | None = None
    joules_per_request: float | None = None  # its prefill too
    source: str | None = None  # and how it is sampled
    reason: str | None = None  # why there is no joules_per_token


class QualityFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the file makes of a text, with a KV cache of the cell's types."""

    ppl: Mean | None = None
    kld: Mean | None = None  # from the reference
    same_top: float | None = None  # share of places where the most probable token is the reference's
    text_sha256: str | None = None
    n_ctx: int | None = None  # tokens in a window
    reference_sha256: str | None = None  # the unquantized file, or the one that was named


class TaskAccuracy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file's share of right answers in one task."""

    task: str
    group: str | None  # of tasks
    n_shots: int
    metric: str  # of the harness
    accuracy: Mean
    n_items: int
    difference: Span | None = None  # from the unquantized file's, item by item, with a 95 % interval
    p: float | None = None  # of McNemar's test against it


class AccuracyFigures(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the file answered in tasks."""

    mean: Mean | None = None  # over tasks that all files of the model answered
    loss: Span | None = None  # of that mean against the unquantized file, from the same items, with a 95 % interval
    tasks: tuple[str, ...] = ()  # that the mean is over
    by_task: tuple[TaskAccuracy, ...] = ()
    is_reference: bool = False


class Reach(msgspec.Struct, frozen=True, gc=False):
    """Where a disturbed figure may lie without its disturbance."""

    lo: float
    hi: float | None  # None: without bound


class Reaches(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where the figures of a flagged cell may lie without what disturbed it; None where a figure does not apply."""

    prefill_tps: Reach | None = None
    decode_tps: Reach | None = None
    ttft_ms: Reach | None = None
    hidden_bytes: int = 0  # of memory, that the largest resident size can lack


class State(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Medians over the requests of some minutes of a sustained load, and what the device reported after them."""

    n_requests: int
    output_tps: float | None = None  # generated tokens per second of the whole time, prefill included
    prefill_tps: float | None = None
    decode_tps: float | None = None
    itl_p50_ms: float | None = None
    mhz: float | None = None
    temperature_c: float | None = None
    watts: float | None = None
    throttle: tuple[str, ...] = ()  # every flag that was raised


class Sustained(msgspec.Struct, frozen=True, kw_only=True):
    """How a device kept its speed under a sustained load."""

    lasted_s: float  # until the end of the last request; less than the cell's sustain_s where it was interrupted
    n_minutes: int
    steady_from_s: float
    is_steady: bool  # False: the speed still changed at the end
    first: State  # of the first minute
    steady: State  # of the steady state, which the cell's own rates are of
    prefill_change: Span | None = None  # of the steady state against the first minute: -0.1 is a tenth slower
    decode_change: Span | None = None


class CellSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a cell is, and its figures: medians over rounds with their ranges. None where a figure does not apply."""

    cell_key: str
    env_id: str
    artifact: Artifact
    config: RunConfig
    label: str | None = None  # a name for these results, like a build's or a board's
    kind: str = "measured"  # "measured" | "estimated"
    status: str  # "ok" | "failed" | "skipped"
    error: str | None = None
    rounds: int  # that went well
    reps: int
    target: float | None = None  # the ranges are those of a stopping rule with this relative half-width
    started_at: str | None = None
    backend: str | None = None  # in force
    flash_attn: bool | None = None  # in force
    prefill_tps: Span | None = None
    decode_tps: Span | None = None
    ttft_ms: Span | None = None
    token_gaps: TokenGaps | None = None
    load_ms: float | None = None
    mbu: float | None = None  # memory bandwidth utilization of decode: a share of what the device reads at most
    model_rss_bytes: Span | None = None  # peak less the process before the model was opened
    memory: MemoryFigures = MemoryFigures()
    energy: EnergyFigures = EnergyFigures()
    quality: QualityFigures = QualityFigures()
    accuracy: AccuracyFigures = AccuracyFigures()
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # on what disturbed single rounds without moving a figure
    sustained: Sustained | None = None  # of a sustained load: all rates above are then those of its steady state
    reaches: Reaches | None = None  # of a cell with flags that explain other figures
    prefill_outliers: tuple[int, ...] = ()  # numbers of rounds, from 0 as in the records
    decode_outliers: tuple[int, ...] = ()


def message_key(cell: CellSummary, flag: str) -> str:
    """Name a flag of a cell."""
    return f"{cell.cell_key}:{cell.env_id}:{flag}"
