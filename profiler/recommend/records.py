"""What a recommendation is asked with, and what it says.

`profiler.recommend.choose.recommend(summaries, limits, ...) -> Recommendation` makes one; `slmprof recommend --json`
prints it as these records stand here, so their fields are relied upon: {"schema", "limits", "prefer", "flagged",
"choices": [one per environment, device, model, kind of weights and load, in the order of the table], "notes"}. A choice
has "chosen" (null where nothing fits), "reason" in a sentence, "tied", "runners_up", "near_misses", "left_out", "relax"
and "command". A Span is {"middle", "lo", "hi"}. A candidate is named by its cell_key, under which
`slmprof export --format json` has the cell's other figures.
"""

import msgspec

from profiler.records.span import Span

SCHEMA = 1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice must keep; None where there is no limit."""

    max_memory_bytes: int | None = None
    min_decode_tps: float | None = None
    min_prefill_tps: float | None = None
    max_ttft_ms: float | None = None
    max_kld: float | None = None
    n_ctx: int | None = None  # not a limit but the context at which memory counts


class Prefer(msgspec.Struct, frozen=True, kw_only=True):
    """How much each criterion counts against the others."""

    speed: float = 0.0
    memory: float = 0.0
    quality: float = 0.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that could be chosen."""

    cell_key: str
    artifact_sha256: str
    quant: str
    bpw: float
    file_bytes: int
    n_threads: int
    n_threads_batch: int
    setting: str  # what else tells it from the others of its group, like "K q8_0"; mostly empty
    n_ctx: int  # at which its memory counts
    rounds: int
    decode_tps: Span | None
    prefill_tps: Span | None
    ttft_ms: Span | None
    memory_bytes: Span | None  # the model's peak without the bare process, at n_ctx
    memory_estimated: bool  # scaled to n_ctx, since it was measured at another
    kld: float | None
    kld_se: float | None
    ppl: float | None
    flags: tuple[str, ...]


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a candidate does not keep."""

    option: str  # "--max-memory"
    limit: float  # bytes, tokens per second, milliseconds or nats, as the option's field in Limits
    reached: float | None  # the far end of the interval; None where it was not measured
    relaxed: float | None  # the limit, rounded, that it would keep
    needs: str  # in words: "needs 310.0 MiB more"


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A file's cell that comes nearest to the limits without keeping them all."""

    candidate: Candidate
    misses: tuple[Miss, ...]
    text: str


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    """The best cell of another file that keeps the limits too, against the choice."""

    candidate: Candidate
    text: str  # "20 % faster, 30.1 MiB less, 1.1 bits per weight less"


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that was not considered, and why."""

    cell_key: str
    name: str
    why: str


class Relax(msgspec.Struct, frozen=True, kw_only=True):
    """The single limit that would have to give for anything to fit: the smallest such step."""

    option: str
    value: str  # as it is typed: "510MiB"
    gives: Candidate
    text: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for one environment, device, model, kind of weights and load."""

    env_id: str
    device: str
    model: str
    weights: str
    standin_for: str | None
    n_params: int
    mode: str
    workload: str
    n_prompt: int
    n_gen: int
    n_depth: int
    quality_basis: str  # "kld" | "bpw": what stood for quality
    n_considered: int
    n_fitting: int
    chosen: Candidate | None
    reason: str
    tied: tuple[str, ...]  # what could not be told apart from the choice in speed, by name
    runners_up: tuple[RunnerUp, ...]
    near_misses: tuple[NearMiss, ...]
    left_out: tuple[LeftOut, ...]
    relax: Relax | None
    command: str | None  # measures the choice again


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """All choices, and what was asked."""

    schema: int = SCHEMA
    limits: Limits
    prefer: Prefer | None  # None: quality, then speed, then memory
    flagged: bool  # whether flagged cells were allowed
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
