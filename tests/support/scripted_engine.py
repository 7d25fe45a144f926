"""An engine that computes nothing: it moves a fake clock by scripted costs and fails where its script says so.

Its model file is a JSON object of `Script`'s fields. Tests of the loop, the worker and the sweep run on it.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from profiler.engine import EngineError
from profiler.records.config import RunConfig
from profiler.records.round import Buffers, InForce


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine does and how long each step takes on its clock."""

    load_ns: int = 1000
    context_ns: int = 100
    prefill_ns_per_token: int = 10
    decode_ns: int = 50
    decode_ns_per_depth: int = 1
    greedy_ns: int = 3
    n_vocab: int = 100
    bos: int | None = 1
    fail: str | None = None  # "load" | "context" | "decode" | "abort" | "kill" | "hang" | "exception"
    fail_once_file: str | None = None  # the failure happens only while this file is missing; it is then made
    sleep_s: float = 0.0  # real time that a load takes
    lose_tokens: int = 0  # a broken cache: tokens that a prefill drops
    finite: bool = True  # whether the logits are numbers


class FakeClock:
    """Nanoseconds that pass only when an engine advances them."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


class FakeEngine:
    """One scripted model in one context; `calls` lists its calls, in order."""

    def __init__(self, clock: FakeClock, script: Script | None = None) -> None:
        self.clock = clock
        self.script = script or Script()
        self.calls: list[str] = []
        self._n_tokens = 0
        self._n_threads = 0

    def load(self, path: Path, config: RunConfig, before_weights: Callable[[], None] | None = None) -> None:
        if path.exists():
            self.script = msgspec.json.decode(path.read_bytes(), type=Script)
        self.calls.append("load")
        time.sleep(self.script.sleep_s)
        self._maybe_fail("load")
        if before_weights:
            before_weights()
        self.clock.now_ns += self.script.load_ns

    def place_work_buffer(self) -> None:
        self.calls.append("layout")

    def open_context(self, config: RunConfig) -> None:
        self.calls.append("context")
        self._maybe_fail("context")
        self._config = config
        self.clock.now_ns += self.script.context_ns

    def _maybe_fail(self, stage: str) -> None:
        kind = self.script.fail
        if kind is None or (stage != "decode" and kind != stage):
            return
        if marker := self.script.fail_once_file:
            if Path(marker).exists():
                return
            Path(marker).touch()
        if kind == "abort":
            os.abort()
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
        if kind == "hang":
            time.sleep(3600)
        if kind == "exception":
            raise RuntimeError("scripted exception")
        raise EngineError(kind, f"scripted {kind} failure")

    @property
    def n_vocab(self) -> int:
        return self.script.n_vocab

    @property
    def bos_token(self) -> int | None:
        return self.script.bos

    def tokenize(self, text: str) -> list[int]:
        return [2 + byte % (self.script.n_vocab - 2) for byte in text.encode()]

    def clear(self) -> None:
        self.calls.append("clear")
        self._n_tokens = 0

    def position(self) -> int:
        return self._n_tokens

    def prefill(self, tokens: Sequence[int]) -> None:
        self.calls.append(f"prefill {len(tokens)} at {self._n_tokens}")
        self._n_tokens += len(tokens) - self.script.lose_tokens
        self.clock.now_ns += self.script.prefill_ns_per_token * len(tokens)

    def decode(self, token: int) -> None:
        self._maybe_fail("decode")
        self.calls.append(f"decode at {self._n_tokens}")
        self.clock.now_ns += self.script.decode_ns + self.script.decode_ns_per_depth * self._n_tokens
        self._n_tokens += 1

    def greedy(self) -> int:
        self.calls.append("greedy")
        self.clock.now_ns += self.script.greedy_ns
        return 0

    def has_finite_logits(self) -> bool:
        return self.script.finite

    def snapshot(self) -> int:
        self.calls.append(f"snapshot at {self._n_tokens}")
        return self._n_tokens

    def restore(self, snapshot: object) -> None:
        assert isinstance(snapshot, int)
        self.calls.append(f"restore to {snapshot}")
        self._n_tokens = snapshot
        self.clock.now_ns += 7  # a restore takes time that must not be counted

    def buffers(self) -> Buffers:
        return Buffers(
            weights_bytes=1000,
            weights_mapped=True,
            repacked_bytes=0,
            kv_cache_bytes=100,
            compute_bytes=10,
            output_bytes=1,
        )

    def in_force(self) -> InForce:
        return InForce(
            flash_attn=True,
            n_ctx=self._config.n_ctx,
            n_batch=self._config.n_batch,
            n_ubatch=self._config.n_ubatch,
            backends=("CPU",),
            n_layers_offloaded=0,
            threadpool=True,
            bos_added=self.script.bos is not None,
        )

    def close(self) -> None:
        self.calls.append("close")
