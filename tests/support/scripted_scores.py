"""An engine with known logits: its model file is a JSON object of `Script`'s fields. For tests of quality."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from profiler.engine import EngineError
from profiler.records.config import RunConfig


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The logits after each token, the same at every position, with any KV cache that has none of its own."""

    after: dict[int, list[float]]  # token -> logits; others take `other`
    other: list[float]
    bos: int | None = None
    fail: str | None = None  # an EngineError of this kind at the first window
    cached: dict[str, list[float]] = {}  # type of the keys -> logits after every token


class FakeScores:
    """One scripted model; each byte of a text is the token of its digit."""

    def load(self, path: Path, config: RunConfig) -> None:
        self._script = msgspec.json.decode(path.read_bytes(), type=Script)

    def open_context(self, config: RunConfig) -> None:
        self._config = config

    @property
    def n_vocab(self) -> int:
        return len(self._script.other)

    @property
    def bos_token(self) -> int | None:
        return self._script.bos

    def tokenize(self, text: str) -> list[int]:
        return [int(digit) for digit in text]

    def score(self, tokens: Sequence[int], first: int) -> Iterator[tuple[int, Any]]:
        import numpy as np

        script = self._script
        if script.fail:
            raise EngineError(script.fail, f"scripted {script.fail} failure")
        n_batch = self._config.n_batch
        for start in range(0, len(tokens) - 1, n_batch):
            begin, end = max(start, first), min(start + n_batch, len(tokens) - 1)
            if end > begin:
                other = script.cached.get(self._config.type_k, script.other)
                rows = [script.after.get(token, other) for token in tokens[begin:end]]
                with np.errstate(over="ignore"):
                    logits = np.asarray(rows, np.float32)
                yield begin, logits

    def close(self) -> None:
        pass
