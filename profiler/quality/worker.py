"""One process: score some windows of a text with one model. Run as `python -m profiler.quality.worker`.

The reference writes its distributions into a folder; another file or cache is compared with them. After each window a
line goes to the parent, at the end the answer.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec

from profiler.engine import EngineError, OpenModel, as_failure, not_finite
from profiler.measure.corpus import windows_of
from profiler.measure.worker import Answer
from profiler.records.config import RunConfig
from profiler.records.failure import Failure
from quant.base.worker import Send, serve_with_progress


def first_scored(n_ctx: int) -> int:
    """Return the first position whose prediction is scored: the tokens before it are context."""
    return n_ctx // 2


def n_scored(n_ctx: int) -> int:
    """Return how many predictions of a window are scored; the last position predicts a token beyond it."""
    return n_ctx - 1 - first_scored(n_ctx)


class ScoreJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker scores."""

    path: str
    config: RunConfig
    text_path: str
    n_chunks: int | None  # the most windows of the whole text
    first: int  # window
    n_windows: int  # from it on
    folder: str | None  # of the reference's windows; None: no comparison
    is_reference: bool  # write the windows, else read them


class ScoreAnswer(Answer, frozen=True, kw_only=True):
    """The values at each scored token, window by window."""

    n_windows: int = 0  # of the whole text, at most n_chunks
    n_tokens: int = 0  # of the whole text
    nll: tuple[float, ...] = ()  # negative log-likelihood of the right token, nats
    kld: tuple[float, ...] = ()  # from the reference, nats; empty without one
    n_same_top: int = 0  # tokens where the most probable token is the reference's
    peak_rss_bytes: int | None = None


class WindowsScored(msgspec.Struct, frozen=True, kw_only=True):
    """Progress."""

    n_done: int  # windows
    n_windows: int


class ScoringEngine(OpenModel, Protocol):
    """What scoring needs of an engine; see profiler/engine."""

    def load(self, path: Path, config: RunConfig) -> None:
        """Open the model."""

    def score(self, tokens: Sequence[int], first: int) -> Iterator[tuple[int, Any]]:
        """Put tokens into an empty cache; yield for each batch a position and the logits from there on."""


def work(job: ScoreJob, send: Send) -> ScoreAnswer:
    """Do a job with llama.cpp."""
    from profiler.engine.llama import LlamaEngine

    return work_with(LlamaEngine(), job, send)


def work_with(engine: ScoringEngine, job: ScoreJob, send: Send) -> ScoreAnswer:
    """Do a job; a failure of the engine is an answer."""
    try:
        return score(engine, job, send)
    except (EngineError, MemoryError) as error:
        return ScoreAnswer(failure=as_failure(error))
    except OSError as error:
        return ScoreAnswer(failure=Failure(kind="disk", message=f"the reference on disk: {error.strerror or error}"))
    finally:
        engine.close()


def score(engine: ScoringEngine, job: ScoreJob, send: Send) -> ScoreAnswer:
    """Score the job's windows.

    Raises:
        EngineError: the model cannot be run, the text has no whole window, a logit is not finite, or the reference
            tokenizes the text differently.
    """
    from profiler.device.memory.reader import read_memory

    config = job.config
    engine.load(Path(job.path), config)
    engine.open_context(config)
    tokens = engine.tokenize(Path(job.text_path).read_bytes().decode())
    if not tokens:
        raise EngineError("text", "the model has no vocabulary; quality needs a model with its tokenizer")
    windows = windows_of(tokens, engine.bos_token, config.n_ctx, job.n_chunks)
    if not windows:
        raise EngineError(
            "text",
            f"the text has {len(tokens)} tokens, which fill no window of {config.n_ctx}; "
            "use a longer --text or a smaller --n-ctx",
        )
    nll: list[float] = []
    kld: list[float] = []
    n_same_top = 0
    with _Scorer(engine, config) as scorer:
        for number in range(job.first, min(job.first + job.n_windows, len(windows))):
            scores = scorer.window(windows[number], number, job)
            nll += scores.nll
            kld += scores.kld
            n_same_top += scores.n_same_top
            send(WindowsScored(n_done=number + 1, n_windows=len(windows)))
    return ScoreAnswer(
        n_windows=len(windows),
        n_tokens=len(tokens),
        nll=tuple(nll),
        kld=tuple(kld),
        n_same_top=n_same_top,
        peak_rss_bytes=read_memory(Path(job.path)).peak_rss_bytes,
    )


class _WindowScores(msgspec.Struct):
    nll: list[float]
    kld: list[float]
    n_same_top: int = 0


class _Scorer:
    """Scores rows in as many threads as the model uses, so that the statistics cost little beside it."""

    def __init__(self, engine: ScoringEngine, config: RunConfig) -> None:
        import numpy as np

        from profiler.quality.rows import Row

        self._engine = engine
        self._first = first_scored(config.n_ctx)
        self._n_rows = n_scored(config.n_ctx)
        self._n_threads = config.n_threads_batch
        self._work = [
            (Row(engine.n_vocab), np.empty(engine.n_vocab, np.float32)) for _ in range(self._n_threads)
        ]  # one pair per thread
        self._pool = ThreadPoolExecutor(self._n_threads)

    def __enter__(self) -> "_Scorer":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def window(self, tokens: list[int], number: int, job: ScoreJob) -> _WindowScores:
        """Score one window."""
        from profiler.quality.reference import WindowReader, WindowWriter, path_of

        if job.folder is None:
            return self._rows(tokens, None, None)
        path = path_of(Path(job.folder), number)
        if job.is_reference:
            writer = WindowWriter(path, tokens, self._n_rows, self._engine.n_vocab)
            try:
                return self._rows(tokens, writer, None)
            finally:
                writer.close()
        reader = WindowReader(path)
        try:
            if reader.n_vocab != self._engine.n_vocab or reader.tokens != tokens:
                raise EngineError("tokens", "it tokenizes the text differently from the reference")
            return self._rows(tokens, None, reader)
        finally:
            reader.close()

    def _rows(self, tokens: list[int], writer: Any, reader: Any) -> _WindowScores:
        n_rows = self._n_rows
        scores = _WindowScores([0.0] * n_rows, [0.0] * n_rows if reader else [])
        for position, logits in self._engine.score(tokens, self._first):

            def part(thread: int, position: int = position, logits: Any = logits) -> int:
                row, work = self._work[thread]
                same = 0
                for index in range(thread, len(logits), self._n_threads):
                    at = position + index
                    row_index = at - self._first
                    scores.nll[row_index] = row.read(logits[index], tokens[at + 1])
                    if writer is not None:
                        writer.put(row_index, row.below, row.top, work)
                    if reader is not None:
                        reader.below(row_index, work)
                        scores.kld[row_index] = row.kld(work)
                        same += row.top == reader.top(row_index)
                return same

            scores.n_same_top += sum(self._pool.map(part, range(self._n_threads)))
        _require_finite(scores)
        return scores


def _require_finite(scores: _WindowScores) -> None:
    from math import isfinite

    if not all(map(isfinite, (*scores.nll, *scores.kld))):
        raise not_finite()


if __name__ == "__main__":
    serve_with_progress(ScoreJob, work)
