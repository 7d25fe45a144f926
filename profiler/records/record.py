"""The records of results.jsonl. Raw observations only: rates, means and percentiles are derived when they are read.

One JSON object per line; `type` tells which record it is. Lines may be concatenated from several files.
"""

import hashlib
from typing import Annotated

import msgspec

from profiler.records.config import Cell
from profiler.records.energy import EnergySpan, EnergyTrace
from quant.base.ints import Count, Int64
from quant.gguf_io.artifact import Artifact

SCHEMA = 1  # raised when an older reader would misread a line

Status = Annotated[str, msgspec.Meta(pattern=r"\A(?:ok|failed|skipped)\Z")]


class CoreKind(msgspec.Struct, frozen=True, kw_only=True):
    """CPUs that share a maximum frequency: performance and efficiency cores differ in it."""

    name: str  # "performance" | "efficiency" | "all"
    cpus: tuple[Int64, ...]  # logical CPU numbers
    max_mhz: float | None = None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One ggml device as ggml describes it."""

    name: str
    description: str
    kind: str  # "cpu" | "gpu" | "igpu" | "accel"
    memory_bytes: Int64 | None = None


class Environment(msgspec.Struct, frozen=True, kw_only=True, tag="environment", tag_field="type"):
    """Everything that two runs must share to be comparable. No host name, no user name, no path."""

    schema: Int64 = SCHEMA
    system: str  # "Linux" | "Darwin" | "Windows"
    system_release: str
    machine: str  # "x86_64", "aarch64", "arm64"
    board: str | None  # "Raspberry Pi 5 Model B Rev 1.0", "MacBookAir10,1"
    cpu_model: str
    cpu_features: tuple[str, ...]  # as ggml was built for and sees them: "AVX2", "NEON", ...
    cores_physical: Int64
    cores_logical: Int64
    core_kinds: tuple[CoreKind, ...]
    affinity: tuple[Int64, ...] | None  # the CPUs this process may use, None where it may use all
    cpu_quota: float | None  # a container's limit in CPUs
    memory_bytes: Int64
    memory_limit_bytes: Int64 | None  # a container's limit
    page_bytes: Int64
    huge_pages: str | None
    governor: str | None
    turbo: bool | None
    power_mode: str | None  # Jetson nvpmodel, macOS low-power mode
    thread_variables: dict[str, str]  # OMP_*, GOMP_*, KMP_*, GGML_* that are set
    binding_version: str  # llama-cpp-python
    llama_commit: str
    threading: str  # "openmp" | "ggml"
    backends: tuple[str, ...]
    devices: tuple[Device, ...]

    @property
    def id(self) -> str:
        """Twelve hex digits of a hash of all fields: runs with different ids are not to be mixed."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:12]


class Conditions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the machine was doing at one moment. Counters are cumulative; None where the system does not tell."""

    mhz: float | None = None  # mean over the CPUs in use
    mhz_min: float | None = None
    temperature_c: float | None = None  # the hottest CPU zone
    throttle: tuple[str, ...] = ()  # names of the flags raised now: "under-voltage", "capped", "throttled", ...
    throttle_count: Int64 | None = None  # the CPU's own cumulative count of thermal events
    load_1m: float | None = None
    steal_ns: Int64 | None = None  # cumulative, all CPUs
    busy_ns: Int64 | None = None  # cumulative, all CPUs: time not idle, this process's included
    process_cpu_ns: Int64 | None = None  # cumulative, this process
    involuntary_switches: Int64 | None = None  # cumulative, this process
    major_faults: Int64 | None = None  # cumulative, this process: pages read from disk
    minor_faults: Int64 | None = None  # cumulative, this process: pages that memory already held
    swap_used_bytes: Int64 | None = None  # of the system
    on_battery: bool | None = None
    governor: str | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The worker's memory at one phase. None where the system lacks the figure."""

    rss_bytes: Int64 | None = None
    anon_bytes: Int64 | None = None
    file_backed_bytes: Int64 | None = None
    pss_bytes: Int64 | None = None
    uss_bytes: Int64 | None = None
    swap_bytes: Int64 | None = None
    peak_rss_bytes: Int64 | None = None  # since the process, or the last reset where the system has one
    footprint_bytes: Int64 | None = None  # macOS physical footprint
    mapped_bytes: Int64 | None = None  # resident pages of the model's file, through its mapping; Linux only


class Buffers(msgspec.Struct, frozen=True, kw_only=True):
    """What llama.cpp says that it set aside, from its own log."""

    weights_bytes: Int64 | None = None  # mapped or plain, the repacked part not counted
    weights_mapped: bool | None = None
    repacked_bytes: Int64 | None = None
    device_bytes: Int64 | None = None  # weights that lie on a GPU
    kv_cache_bytes: Int64 | None = None
    compute_bytes: Int64 | None = None
    output_bytes: Int64 | None = None


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """What was in force, where it can differ from what was asked."""

    flash_attn: bool | None
    n_ctx: Int64
    n_batch: Int64
    n_ubatch: Int64
    backends: tuple[str, ...]  # of the devices that held layers
    n_layers_offloaded: Int64
    threadpool: bool
    bos_added: bool


class Sample(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One repetition, in nanoseconds. A part that the mode or the config does not have is None or empty.

    It has a `__dict__` for what is worked out once.
    """

    prefill_ns: Count | None
    sample_ns: Count | None  # choosing the first token; request mode only
    decode_ns: tuple[Count, ...]  # one per generated token
    before: Conditions
    after: Conditions
    decode_energy: EnergySpan | None = None  # where the device tells its energy

    @property
    def decode_total_ns(self) -> int:
        """All decode steps together."""
        # By hand: until Python 3.12 a cached_property takes a lock each time, which costs as much as the sum.
        known: int | None = self.__dict__.get("total")
        if known is None:
            known = self.__dict__["total"] = sum(self.decode_ns)
        return known

    @property
    def timed_ns(self) -> int:
        """All that was timed in it."""
        return (self.prefill_ns or 0) + (self.sample_ns or 0) + self.decode_total_ns


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a round gave no samples."""

    # "abort" | "killed" | "timeout" | "load" | "context" | "decode" | "memory" | "worker"; of quality also "tokens" |
    # "values" | "disk"
    kind: str
    message: str
    signal: str | None = None  # "SIGABRT", ...


class Doubt(msgspec.Struct, frozen=True, kw_only=True):
    """Why a successful round is suspect: drift control found the device at another speed after it."""

    name: Annotated[str, msgspec.Meta(pattern=r"\A(?:throttled|drifting)\Z")]  # of analysis/flags.py
    message: str


class Round(msgspec.Struct, frozen=True, kw_only=True, tag="round", tag_field="type"):
    """One round of one cell: one process, its samples or its error."""

    env_id: str
    cell: Cell
    round: Int64  # from 0
    status: Status  # "ok" | "failed" | "skipped"
    started_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    seed: Int64
    order: Int64  # position in its sweep, for trends over time
    target: float | None = None  # the relative half-width that would have ended the cell's rounds, where one was asked
    wall_ns: Int64 | None = None  # of the whole worker
    start_ns: Int64 | None = None  # of it, until the model is opened: spawning, Python, imports
    load_ns: Int64 | None = None
    context_ns: Int64 | None = None
    tokenize_ns: Int64 | None = None
    warmup_ns: Int64 | None = None
    samples: tuple[Sample, ...] = ()
    memory: dict[str, Memory] = {}  # phase -> figures, in the order of PHASES
    buffers: Buffers | None = None
    in_force: InForce | None = None
    error: Failure | None = None
    read_ceiling_bytes_per_s: float | None = None  # measured by `doctor --bandwidth` at the cell's decode threads
    energy: EnergyTrace | None = None
    doubt: Doubt | None = None  # in a later record of the same round; the next run measures such a round again


class AnchorRound(Round, frozen=True, kw_only=True, tag="anchor", tag_field="type"):
    """A round of drift control's reference cell: not part of that cell's figures.

    A type of its own, so that a reader that does not know it refuses the file instead of mixing it in.
    """


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over scored tokens, and its standard error."""

    value: float
    se: float


class Perplexity(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model predicts a text."""

    ppl: Mean
    n_scored: Count  # tokens


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """How far a model's predictions are from the unquantized model's; nats, shares, and probabilities."""

    kld: Mean
    kld_p90: float
    kld_p99: float
    kld_max: float
    same_top: Mean  # share of places where the most probable token is the same
    dp_rms: Mean  # root mean square of the change of the right token's probability
    log_ppl_ratio: Mean  # logarithm of the quotient of the perplexities


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True, tag="quality", tag_field="type"):
    """What one file makes of one text. Figures, not observations: those are some 100 KiB a level.

    A type of its own, so that a reader that does not know it refuses the file instead of leaving it out.
    """

    artifact_sha256: str
    text_sha256: str
    text_name: str
    n_ctx: Int64
    n_chunks_asked: Int64 | None  # None: the whole text
    reference_sha256: str | None  # the unquantized file; None where there was none, and no divergence then
    env_id: str
    status: Status
    started_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    n_threads: Int64
    n_chunks: Count = 0  # windows that were scored
    n_tokens: Count = 0  # of the text, as this model reads it
    perplexity: Perplexity | None = None
    divergence: Divergence | None = None
    wall_ns: Int64 | None = None  # of its processes
    peak_rss_bytes: Int64 | None = None  # of the largest of them
    error: Failure | None = None

    @property
    def key(self) -> tuple[str, str, int, int | None, str | None]:
        """What makes two of them the same measurement; it drives resume."""
        return self.artifact_sha256, self.text_sha256, self.n_ctx, self.n_chunks_asked, self.reference_sha256


Record = Environment | Artifact | Round | AnchorRound | QualityRecord

# vocabulary: the header and the vocabulary are read, the buffers set aside, and no weight is copied yet.
PHASES = ("imported", "vocabulary", "loaded", "context", "prefilled", "decoded")
