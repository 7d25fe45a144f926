"""The loop: a text in windows of equal length, each read from an empty cache, every token with its logits."""

from collections.abc import Callable, Sequence
from typing import Protocol

from profiler.imatrix.sums import LEAST_ROWS
from profiler.records.config import RunConfig

LEAST_CTX = 2 * LEAST_ROWS
_MOST_BATCH = 512
_MOST_LOGIT_BYTES = 64 << 20


class Reading(Protocol):
    """An engine that reads tokens and lets its matrices' inputs be seen."""

    @property
    def bos_token(self) -> int | None:
        """The token that comes before a text; None where none does."""

    def clear(self) -> None:
        """Empty the cache."""

    def prefill_every(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache, with the logits of each."""


def windows_of(text_tokens: Sequence[int], bos: int | None, n_ctx: int, n_chunks: int | None) -> list[list[int]]:
    """Cut a text into whole windows, at most `n_chunks`.

    A BOS stands before the text and, as in llama-imatrix, in the first place of every window, whose own token it
    covers: the last layers see every text begin so.
    """
    tokens = ([] if bos is None else [bos]) + list(text_tokens)
    n_windows = len(tokens) // n_ctx
    if n_chunks is not None:
        n_windows = min(n_windows, n_chunks)
    windows = [tokens[first * n_ctx : (first + 1) * n_ctx] for first in range(n_windows)]
    if bos is not None:
        for window in windows:
            window[0] = bos
    return windows


def parts_of(n_ctx: int, n_vocab: int) -> list[int]:
    """Split a window into batches whose logits fit into little memory, none so short that it would be left out."""
    most = max(LEAST_CTX, min(_MOST_BATCH, _MOST_LOGIT_BYTES // (4 * n_vocab)))
    n_parts = -(-n_ctx // most)
    return [n_ctx // n_parts + (part < n_ctx % n_parts) for part in range(n_parts)]


def config_of(n_ctx: int, n_batch: int, n_threads: int) -> RunConfig:
    """Give the setting: llama-imatrix's, on the CPU, weights in their own layout."""
    return RunConfig(
        mode="separate",
        workload="custom",
        n_prompt=n_ctx,
        n_gen=0,
        n_depth=0,
        n_ctx=n_ctx,
        n_batch=n_batch,
        n_ubatch=n_batch,
        n_outputs_max=0,
        n_threads=n_threads,
        n_threads_batch=n_threads,
        cores=None,
        type_k="f16",
        type_v="f16",
        flash_attn="auto",
        swa_full=False,
        load_mode="auto",
        repack=False,
        device="cpu",
        n_gpu_layers=0,
    )


def read_windows(
    engine: Reading, windows: Sequence[Sequence[int]], parts: Sequence[int], on_window: Callable[[int], None]
) -> None:
    """Read every window; `on_window` is told how many are done.

    Raises:
        EngineError: the engine refused.
    """
    for number, window in enumerate(windows, 1):
        engine.clear()
        first = 0
        for length in parts:
            engine.prefill_every(window[first : first + length])
            first += length
        on_window(number)
