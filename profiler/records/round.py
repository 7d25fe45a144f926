"""One round of one cell, as it was observed."""

import msgspec

from profiler.records.config import Cell
from profiler.records.energy import EnergyReading, EnergySpan, EnergyTrace
from profiler.records.failure import Doubt, Failure, Status
from quant.base.ints import Count, Int64


class Conditions(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the machine was doing at one moment. Counters are cumulative; None where the system lacks the figure."""

    mhz: float | None = None  # mean over the CPUs in use
    mhz_min: float | None = None
    temperature_c: float | None = None  # the hottest CPU zone
    throttle: tuple[str, ...] = ()  # names of the flags raised now: "under-voltage", "capped", "throttled", ...
    throttle_problem: str | None = None  # why these flags cannot be read where the device has them
    throttle_count: Int64 | None = None  # the CPU's own cumulative count of thermal events
    load_1m: float | None = None
    steal_ns: Int64 | None = None  # cumulative, all CPUs
    busy_ns: Int64 | None = None  # cumulative, all CPUs: time not idle, this process's included
    clock_ns: Int64 | None = None  # when busy_ns was read, by a clock that never steps back
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
    huge_bytes: Int64 | None = None  # anonymous memory in transparent huge pages; Linux only
    mapped_bytes: Int64 | None = None  # resident pages of the model's file, through its mapping; Linux only


class Buffers(msgspec.Struct, frozen=True, kw_only=True):
    """What llama.cpp allocated, from its own log."""

    weights_bytes: Int64 | None = None  # mapped or plain, the repacked part not counted
    weights_mapped: bool | None = None
    repacked_bytes: Int64 | None = None
    device_bytes: Int64 | None = None  # weights on a GPU
    kv_cache_bytes: Int64 | None = None
    compute_bytes: Int64 | None = None
    output_bytes: Int64 | None = None


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """What was in force, where it can differ from what was requested."""

    flash_attn: bool | None
    n_ctx: Int64
    n_batch: Int64
    n_ubatch: Int64
    backends: tuple[str, ...]  # of the devices that held layers
    n_layers_offloaded: Int64
    threadpool: bool
    bos_added: bool
    n_cores: Int64 | None = None  # physical cores behind the CPUs of --cores
    layout: str | None = None  # where ggml's work buffer starts, in bytes modulo 64, or "uncontrolled"
    ignored: tuple[str, ...] = ()  # what was requested and is not in effect, and why


class Sample(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One repetition, in nanoseconds. A part that the mode or the config does not have is None or empty.

    It has a `__dict__` for what is worked out once.
    """

    prefill_ns: Count | None
    sample_ns: Count | None  # choosing the first token; request mode only
    decode_ns: tuple[Count, ...]  # one per generated token
    before: Conditions
    after: Conditions
    decode_energy: EnergySpan | None = None  # where the device reports its energy
    prefill_energy: EnergyReading | None = None  # right before prefill, in a request
    # Of a sustained load: since its first request began. What is not timed is restoring the cache and these readings.
    start_ns: Count | None = None
    end_ns: Count | None = None

    @property
    def decode_total_ns(self) -> int:
        """All decode steps together."""
        # By hand: until Python 3.12 a cached_property takes a lock each time, which costs as much as the sum.
        known: int | None = self.__dict__.get("total")
        if known is None:
            known = self.__dict__["total"] = sum(self.decode_ns)
        return known

    @property
    def request_energy(self) -> EnergySpan | None:
        """From before prefill until after decode."""
        if self.prefill_energy is None or self.decode_energy is None:
            return None
        return EnergySpan(before=self.prefill_energy, after=self.decode_energy.after)

    @property
    def timed_ns(self) -> int:
        """All that was timed in it."""
        return (self.prefill_ns or 0) + (self.sample_ns or 0) + self.decode_total_ns


class Round(msgspec.Struct, frozen=True, kw_only=True, tag="round", tag_field="type"):
    """One round of one cell: one process, its samples or its error. Of a sustained load, one minute of the process."""

    env_id: str
    cell: Cell
    round: Int64  # from 0; of a sustained load the minute in which the samples began
    status: Status  # "ok" | "failed" | "skipped"
    started_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    seed: Int64
    order: Int64  # position in its sweep, for trends over time; the minutes of a sustained load share it
    target: float | None = (
        None  # the relative half-width that would have ended the cell's rounds, where one was requested
    )
    wall_ns: Int64 | None = None  # of the whole worker
    start_ns: Int64 | None = None  # of it, until the model is opened: spawning, Python, imports
    load_ns: Int64 | None = None
    context_ns: Int64 | None = None
    tokenize_ns: Int64 | None = None
    warmup_ns: Int64 | None = None
    samples: tuple[Sample, ...] = ()
    # By phase: imported, vocabulary, loaded, context, prefilled, decoded. At vocabulary the header and the vocabulary
    # are read, the buffers allocated, and no weight is copied yet.
    memory: dict[str, Memory] = {}
    buffers: Buffers | None = None
    in_force: InForce | None = None
    error: Failure | None = None
    read_ceiling_bytes_per_s: float | None = None  # measured by `doctor --bandwidth` at the cell's decode threads
    energy: EnergyTrace | None = None
    repeated: Int64 = 0  # records of this round before it, that it supersedes: one of them was disturbed
    doubt: Doubt | None = None  # in a later record of the same round; the next run measures such a round again


class AnchorRound(Round, frozen=True, kw_only=True, tag="anchor", tag_field="type"):
    """A round of drift control's reference cell: not part of that cell's figures.

    A type of its own, so that a reader that does not know it refuses the file instead of mixing it in.
    """
