"""A cell of a sweep: one file with one set of settings, everything that changes speed or memory."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, NamedTuple

import msgspec

from quant.base.ints import Count, Int64


class CacheType(NamedTuple):
    """A type of the KV cache. Source: enum ggml_type and the block structs of the pinned ggml."""

    ggml_type: int
    bytes_per_element: float


CACHE_TYPES = {
    "f32": CacheType(0, 4.0),
    "f16": CacheType(1, 2.0),
    "bf16": CacheType(30, 2.0),
    "q8_0": CacheType(8, 34 / 32),
    "q5_1": CacheType(7, 24 / 32),
    "q5_0": CacheType(6, 22 / 32),
    "q4_1": CacheType(3, 20 / 32),
    "q4_0": CacheType(2, 18 / 32),
    "iq4_nl": CacheType(20, 18 / 32),
}


class KvTypes(NamedTuple):
    """The types of a KV cache."""

    type_k: str
    type_v: str

    def __str__(self) -> str:
        return f"{self.type_k}/{self.type_v}"


F16_CACHE = KvTypes("f16", "f16")


def crossed(types_k: Sequence[str], types_v: Sequence[str]) -> tuple[KvTypes, ...]:
    """Return each type of keys with each type of values."""
    return tuple(KvTypes(type_k, type_v) for type_k in types_k for type_v in types_v)


# Checked when a record is read, since results files are untrusted.
CpuNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
Mode = Annotated[str, msgspec.Meta(pattern=r"\A(?:separate|request)\Z")]
FlashAttention = Annotated[str, msgspec.Meta(pattern=r"\A(?:on|off|auto)\Z")]
MAX_THREADS = 512  # GGML_MAX_N_THREADS, ggml.h
LOAD_MODES = ("auto", "mmap", "none", "mlock", "mmap+mlock", "dio")


class RunConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Every setting of a measurement. A record lists all fields that have no default here.

    mode: "separate" measures prefill of n_prompt at depth n_depth, and decode of n_gen at depth n_depth, as two
    tests; "request" decodes after its own prefill, as a user's request does, and is the only mode with a TTFT.
    """

    mode: Mode  # "separate" | "request"
    workload: str  # "bench", "chat", ... or "custom" for -p -n -d
    n_prompt: Count
    n_gen: Count
    n_depth: Count
    n_ctx: Int64
    n_batch: Int64
    n_ubatch: Int64
    n_outputs_max: Int64
    n_threads: Int64  # single-token decode
    n_threads_batch: Int64  # prefill
    cores: tuple[CpuNumber, ...] | None  # the CPUs that the threads are bound to
    type_k: str
    type_v: str
    flash_attn: FlashAttention  # "on" | "off" | "auto", as requested
    swa_full: bool
    load_mode: str  # "auto" | "mmap" | "none" | "mlock" | "mmap+mlock" | "dio"
    repack: bool
    device: str  # "cpu" | "gpu"
    n_gpu_layers: Int64
    # One request after the other for so long, each minute of it a round; 0: a few repetitions. Omitted at 0, so that
    # the keys of all other cells are what they were before there was such a setting.
    sustain_s: Count = 0

    @property
    def load(self) -> tuple[str, str, int, int, int, int]:
        """What one round does: cells of one load can be compared."""
        return self.mode, self.workload, self.n_prompt, self.n_gen, self.n_depth, self.sustain_s

    @property
    def cache(self) -> KvTypes:
        """The types of the KV cache."""
        return KvTypes(self.type_k, self.type_v)

    @property
    def decode_depth(self) -> int:
        """Tokens in the cache when the first timed decode step starts."""
        return self.n_depth + (self.n_prompt if self.mode == "request" else 0)

    @property
    def needed_n_ctx(self) -> int:
        """Tokens that the load puts into the cache."""
        together = self.n_prompt + self.n_gen
        return self.n_depth + (together if self.mode == "request" else max(self.n_prompt, self.n_gen))


_LLAMA_BENCH = RunConfig(
    mode="separate",
    workload="custom",
    n_prompt=0,
    n_gen=0,
    n_depth=0,
    n_ctx=0,
    n_batch=2048,
    n_ubatch=512,
    n_outputs_max=0,
    n_threads=1,
    n_threads_batch=1,
    cores=None,
    type_k="f16",
    type_v="f16",
    flash_attn="auto",
    swa_full=False,
    load_mode="auto",
    repack=True,
    device="cpu",
    n_gpu_layers=0,
)


def base_config(**changes: Any) -> RunConfig:
    """Return llama-bench's default settings on the CPU, with one thread and some fields changed.

    `n_threads` sets both thread counts, and `n_ubatch` is at most `n_batch`, unless they are given too.
    """
    derived = {
        "n_threads_batch": changes.get("n_threads", _LLAMA_BENCH.n_threads),
        "n_ubatch": min(_LLAMA_BENCH.n_ubatch, changes.get("n_batch", _LLAMA_BENCH.n_batch)),
    }
    return msgspec.structs.replace(_LLAMA_BENCH, **(derived | changes))


class Cell(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A file, identified by its content, and its settings. It has a `__dict__` for the cached key."""

    artifact_sha256: str
    config: RunConfig

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits of a hash of exactly these fields; it drives resume."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]
