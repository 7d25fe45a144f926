"""The input of a recommendation, and what it says.

`profiler.recommend.choose.recommend(summaries, criteria, ...) -> Recommendation` makes one; `slmprof recommend --json`
prints it with these records' fields, which are relied upon: {"schema", "limits", "prefer", "flagged", "choices": [one
per environment, device, model, kind of weights and load, in the order of the table], "notes"}. A choice has "chosen"
(null where nothing fits), "reason" in a sentence, "tied", "runners_up", "near_misses", "left_out", "disturbed",
"relax", "command" and "deploy". "reaches" of a candidate are the ranges of a disturbed cell without its disturbance; an
end without bound is null. A Span is {"middle", "lo", "hi"}. A candidate is identified by its cell_key, under which
`slmprof export --format json` has the cell's other figures.
"""

import math

import msgspec

from profiler.deploy.records import Deploy
from profiler.records.cell_summary import Reach, Reaches
from profiler.records.span import Span
from profiler.tables.format import threads_in_words

SCHEMA = 1
Z_95 = 1.96  # standard errors on either side of a mean: a 95 % interval


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice must meet; None where there is no limit."""

    max_memory_bytes: int | None = None
    min_decode_tps: float | None = None
    min_prefill_tps: float | None = None
    max_ttft_ms: float | None = None
    max_kld: float | None = None
    max_file_bytes: int | None = None
    min_accuracy: tuple[tuple[str, float], ...] = ()  # a task, and the least share of right answers
    max_accuracy_loss: float | None = None  # of the mean over tasks, a share
    n_ctx: int | None = None  # not a limit but the context at which memory counts

    @property
    def bounds_quality(self) -> bool:
        """Whether a limit is on quality."""
        return self.max_kld is not None or self.bounds_accuracy

    @property
    def bounds_accuracy(self) -> bool:
        """Whether a limit is on what files answer."""
        return bool(self.min_accuracy) or self.max_accuracy_loss is not None


class Prefer(msgspec.Struct, frozen=True, kw_only=True):
    """How much each criterion counts against the others."""

    speed: float = 0.0
    memory: float = 0.0
    quality: float = 0.0


Order = Prefer | None  # None: the rule of rule.py


class Criteria(msgspec.Struct, frozen=True, kw_only=True):
    """How to choose: the limits, the order within them, and whether flagged cells count as measured."""

    limits: Limits = Limits()
    order: Order = None
    flagged: bool = False  # the intervals of flagged cells are not widened by what disturbed them
    sustained: bool = False  # among sustained loads, by the rates of their steady state


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that could be chosen."""

    cell_key: str
    artifact_sha256: str
    quant: str
    bpw: float
    file_bytes: int
    n_threads: int
    n_threads_batch: int
    setting: str  # what else distinguishes it within its group, like "K q8_0"; mostly empty
    n_ctx: int  # at which its memory counts
    rounds: int
    decode_tps: Span | None
    prefill_tps: Span | None
    ttft_ms: Span | None
    memory_bytes: Span | None  # the model's peak without the process's own, at n_ctx
    memory_estimated: bool  # scaled to n_ctx from the context it was measured at
    kld: float | None
    kld_se: float | None
    ppl: float | None
    accuracy: dict[str, Span] = {}  # by task, with a 95 % interval
    accuracy_loss: Span | None = None  # of the mean over tasks, against the unquantized file
    flags: tuple[str, ...]
    reaches: Reaches | None = None  # of a disturbed cell: where its figures may lie undisturbed

    @property
    def name(self) -> str:
        """A few words: "Q4_K_M with 2 threads"."""
        setting = f" ({self.setting})" if self.setting else ""
        return f"{self.quant} with {threads_in_words(self)}{setting}"

    @property
    def speed(self) -> Span | None:
        """Tokens per second of decode, or of prefill where only that was measured."""
        return self.decode_tps or self.prefill_tps

    @property
    def decode_within(self) -> Span | None:
        """Decode, with the range that allows for disturbances."""
        return _widened(self.decode_tps, self.reaches.decode_tps if self.reaches else None)

    @property
    def prefill_within(self) -> Span | None:
        """Prefill, with the range that allows for disturbances."""
        return _widened(self.prefill_tps, self.reaches.prefill_tps if self.reaches else None)

    @property
    def ttft_within(self) -> Span | None:
        """The time to first token, with the range that allows for disturbances."""
        return _widened(self.ttft_ms, self.reaches.ttft_ms if self.reaches else None)

    @property
    def memory_within(self) -> Span | None:
        """The memory, with what the largest resident size can lack."""
        span = self.memory_bytes
        hidden = self.reaches.hidden_bytes if self.reaches else 0
        return _widened(span, Reach(span.lo, span.hi + hidden) if span and hidden else None)

    @property
    def speed_within(self) -> Span | None:
        """The speed, with the range that allows for disturbances."""
        return self.decode_within or self.prefill_within

    @property
    def kld_span(self) -> Span | None:
        """The KLD with its 95 % interval."""
        if self.kld is None:
            return None
        reach = Z_95 * (self.kld_se or 0.0)
        return Span(self.kld, self.kld - reach, self.kld + reach, "interval")


def _widened(span: Span | None, reach: Reach | None) -> Span | None:
    if span is None or reach is None:
        return span
    most = math.inf if reach.hi is None else reach.hi
    return Span(span.value, min(span.lo, reach.lo), max(span.hi, most), span.kind, span.min_max)


class Miss(msgspec.Struct, frozen=True, kw_only=True):
    """A limit that a candidate does not meet."""

    option: str  # "--max-memory"; "" of the bits per weight that stand for a quality nobody measured
    limit: float  # in the unit of the option's field in Limits
    reached: float | None  # the worse end of the interval; None where it was not measured
    relaxed: float | None  # the limit, rounded, that it would meet
    task: str | None = None  # of --min-accuracy
    needs: str  # in words: "needs 310.0 MiB more"


class NearMiss(msgspec.Struct, frozen=True, kw_only=True):
    """A file's cell that comes nearest to the limits without meeting all of them."""

    candidate: Candidate
    misses: tuple[Miss, ...]
    text: str


class RunnerUp(msgspec.Struct, frozen=True, kw_only=True):
    """The best cell of another file that also meets the limits, compared with the choice."""

    candidate: Candidate
    text: str  # "decode 20% faster, 30.1 MiB less memory, 4.50 bits per weight against 8.50"


class Excluded(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that was not considered, and why."""

    cell_key: str
    name: str
    why: str


class Relax(msgspec.Struct, frozen=True, kw_only=True):
    """The smallest change of a single limit that lets something fit."""

    option: str
    value: str  # as typed: "510MiB"
    gives: Candidate
    text: str


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """The choice for one environment, device, model, kind of weights and load."""

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
    quality_basis: str  # "kld" | "bpw": what quality was judged by
    n_considered: int
    n_fitting: int
    chosen: Candidate | None
    reason: str
    tied: tuple[str, ...]  # names of cells whose speed is a tie with the choice's
    runners_up: tuple[RunnerUp, ...]
    near_misses: tuple[NearMiss, ...]
    left_out: tuple[Excluded, ...]
    disturbed: tuple[str, ...]  # how the choice rests on intervals that allow for disturbances, in sentences
    relax: Relax | None
    command: str | None  # re-measures the choice
    n_params_active: int | None = None  # of a mixture of experts, those that one token uses
    deploy: Deploy | None = None  # runs the choice
    sustain_s: int = 0  # the rates are those of the steady state of so long a load


class Recommendation(msgspec.Struct, frozen=True, kw_only=True):
    """All choices, and the criteria."""

    schema: int = SCHEMA
    limits: Limits
    prefer: Order
    flagged: bool  # whether flagged cells counted as measured
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]
