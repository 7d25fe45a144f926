"""One cell of a sweep: one file under one setting of everything that changes speed or memory."""

import hashlib

import msgspec


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of a measurement. No default stands here: the command line decides, the record tells.

    mode: "separate" measures prefill of n_prompt at depth n_depth, and decode of n_gen at depth n_depth, as two
    tests; "request" decodes after its own prefill, as a user's request does, and is the only mode with a TTFT.
    """

    mode: str  # "separate" | "request"
    workload: str  # "bench", "chat", ... or "custom" for -p -n -d
    n_prompt: int
    n_gen: int
    n_depth: int
    n_ctx: int
    n_batch: int
    n_ubatch: int
    n_outputs_max: int
    n_threads: int  # single-token decode
    n_threads_batch: int  # prefill
    cores: tuple[int, ...] | None  # the CPUs that the threads are bound to
    type_k: str
    type_v: str
    flash_attn: str  # "on" | "off" | "auto", as asked
    swa_full: bool
    load_mode: str  # "auto" | "mmap" | "none" | "mlock" | "mmap+mlock" | "dio"
    repack: bool
    device: str  # "cpu" | "gpu"
    n_gpu_layers: int

    @property
    def decode_depth(self) -> int:
        """Tokens in the cache when the first timed decode step starts."""
        return self.n_depth + (self.n_prompt if self.mode == "request" else 0)


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """A file, known by its content, and a setting."""

    artifact_sha256: str
    config: RunConfig

    @property
    def key(self) -> str:
        """Sixteen hex digits of a hash of exactly what the cell is; it drives resume."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()[:16]
