"""The loop: windows of a text, each read from an empty cache, every token with its logits."""

from collections.abc import Callable, Sequence
from typing import Protocol

from profiler.imatrix.sums import MIN_ROWS
from profiler.records.config import RunConfig, base_config

_MIN_BATCH = 2 * MIN_ROWS
_MAX_BATCH = 512
_MAX_LOGIT_BYTES = 64 << 20


class Reading(Protocol):
    """What the loop needs of an engine."""

    def clear(self) -> None:
        """Empty the cache."""

    def prefill_every(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache, with the logits of each."""


def parts_of(n_ctx: int, n_vocab: int) -> list[int]:
    """Return the batches of a window, in tokens: few enough for their logits, yet long enough to be collected."""
    largest = max(_MIN_BATCH, min(_MAX_BATCH, _MAX_LOGIT_BYTES // (4 * n_vocab)))
    n_parts = -(-n_ctx // largest)
    return [n_ctx // n_parts + (part < n_ctx % n_parts) for part in range(n_parts)]


def config_of(n_ctx: int, n_batch: int, n_threads: int) -> RunConfig:
    """Return llama-imatrix's settings, on the CPU and without repacking."""
    return base_config(
        n_prompt=n_ctx, n_ctx=n_ctx, n_batch=n_batch, n_ubatch=n_batch, n_threads=n_threads, repack=False
    )


def read_windows(
    engine: Reading, windows: Sequence[Sequence[int]], parts: Sequence[int], on_window: Callable[[int], None]
) -> None:
    """Read every window, and call `on_window` with the number of windows done.

    Raises:
        EngineError: the engine failed.
    """
    for number, window in enumerate(windows, 1):
        engine.clear()
        first = 0
        for length in parts:
            engine.prefill_every(window[first : first + length])
            first += length
        on_window(number)
