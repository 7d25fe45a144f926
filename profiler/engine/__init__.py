"""The `Engine` protocol: the few calls that the measuring loop makes. llama.py implements it on llama.cpp."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from profiler.records.config import RunConfig
from profiler.records.failure import Failure
from profiler.records.round import Buffers, InForce


class EngineError(Exception):
    """The engine failed: `kind` is a Failure kind ("load", "context", "decode"), the text is llama.cpp's reason."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def not_finite() -> EngineError:
    """Return the error of a model whose logits are no numbers: what it generates, and how fast, means nothing."""
    return EngineError("values", "the logits are no numbers (NaN): broken weights, or 16-bit arithmetic that overflows")


def as_failure(error: EngineError | MemoryError) -> Failure:
    """Return the record of an error that ended a worker's job."""
    if isinstance(error, EngineError):
        return Failure(kind=error.kind, message=str(error))
    return Failure(kind="memory", message="Python had no memory left")


class Step(NamedTuple):
    """One token of a batch, in one of several sequences."""

    token: int
    position: int
    sequence: int
    wanted: bool  # whether the logits of the token after it are wanted


# The cache's content at some depth; only the engine that made it looks inside.
Snapshot = Any


class OpenModel(Protocol):
    """One model in one context, as far as every worker needs it."""

    def open_context(self, config: RunConfig) -> None:
        """Make the context, attach the thread pools."""

    @property
    def n_vocab(self) -> int:
        """The number of token ids."""

    @property
    def bos_token(self) -> int | None:
        """The token that llama.cpp puts before a text; None when it puts none."""

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text without BOS; empty when the model has no vocabulary."""

    def close(self) -> None:
        """Free the context, the thread pools and the model."""


class Engine(OpenModel, Protocol):
    """One model in one context. Calls return only when the work is done: the caller reads the clock."""

    def load(self, path: Path, config: RunConfig, before_weights: Callable[[], None] | None = None) -> None:
        """Open the model; call `before_weights` between reading its vocabulary and its weights."""

    def place_work_buffer(self) -> None:
        """Fix where the memory of the first graph starts, where that is possible; called before it."""

    def clear(self) -> None:
        """Empty the cache."""

    def position(self) -> int:
        """Return the number of tokens in the cache."""

    def prefill(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache in batches of n_batch, each with the logits of its last token, and wait."""

    def decode(self, token: int) -> None:
        """Put one token into the cache, compute the next one's logits, and wait."""

    def greedy(self) -> int:
        """Choose the next token by the largest of the last logits."""

    def has_finite_logits(self) -> bool:
        """Return whether all of the last logits are finite."""

    def snapshot(self) -> Snapshot:
        """Copy the cache's content."""

    def restore(self, snapshot: Snapshot) -> None:
        """Put a copy back in place of what the cache holds."""

    def buffers(self) -> Buffers:
        """Return the sizes of the buffers that llama.cpp allocated."""

    def in_force(self) -> InForce:
        """Return the settings in force, those that llama.cpp chose itself included."""
