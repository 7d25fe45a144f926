"""One cell of a sweep: one file under one setting of everything that changes speed or memory."""

import hashlib
from functools import cached_property
from typing import Annotated, NamedTuple

import msgspec

from quant.base.ints import Count, Int64


class CacheType(NamedTuple):
    """A type that keys and values can be stored in. Source: enum ggml_type and the block structs of the pinned ggml."""

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
# Checked when a record is read, since a results file may come from a stranger.
CpuNumber = Annotated[int, msgspec.Meta(ge=0, lt=1 << 16)]
Mode = Annotated[str, msgspec.Meta(pattern=r"\A(?:separate|request)\Z")]
FlashAttention = Annotated[str, msgspec.Meta(pattern=r"\A(?:on|off|auto)\Z")]
MAX_THREADS = 512  # GGML_MAX_N_THREADS, ggml.h
LOAD_MODES = ("auto", "mmap", "none", "mlock", "mmap+mlock", "dio")


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of a measurement. No default stands here: the command line decides, the record tells.

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
    flash_attn: FlashAttention  # "on" | "off" | "auto", as asked
    swa_full: bool
    load_mode: str  # "auto" | "mmap" | "none" | "mlock" | "mmap+mlock" | "dio"
    repack: bool
    device: str  # "cpu" | "gpu"
    n_gpu_layers: Int64

    @property
    def decode_depth(self) -> int:
        """Tokens in the cache when the first timed decode step starts."""
        return self.n_depth + (self.n_prompt if self.mode == "request" else 0)


class Cell(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A file, known by its content, and a setting. It has a `__dict__` for what is worked out once."""

    artifact_sha256: str
    config: RunConfig

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits of a hash of exactly what the cell is; it drives resume."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]
