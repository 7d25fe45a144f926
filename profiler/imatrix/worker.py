"""One process that opens a model, reads a text with it, and writes the importance matrix.

Run as `python -m profiler.imatrix.worker`. After each window it reports how many are done.
"""

from pathlib import Path

import msgspec

from profiler.engine import EngineError, as_failure
from profiler.measure.corpus import windows_of
from profiler.measure.worker import Answer
from quant.base.worker import Send, serve_with_progress


class ImatrixJob(msgspec.Struct, frozen=True, kw_only=True):
    """What the worker does."""

    path: str
    out: str
    text: str
    dataset: str  # the text's name
    n_ctx: int
    n_chunks: int | None
    n_threads: int
    with_output: bool


class WindowsDone(msgspec.Struct, frozen=True, kw_only=True):
    """Progress."""

    done: int
    total: int


class ImatrixAnswer(Answer, frozen=True, kw_only=True):
    """What was collected, or the failure; no windows where the text is too short for one."""

    n_tokens: int = 0  # of the text
    n_windows: int = 0
    n_tensors: int = 0
    unused: tuple[str, ...] = ()  # weights with experts that no token chose


def work(job: ImatrixJob, send: Send) -> ImatrixAnswer:
    """Do a job; a failure of the engine is an answer."""
    try:
        return _collect(job, send)
    except (EngineError, MemoryError) as error:
        return ImatrixAnswer(failure=as_failure(error))


def _collect(job: ImatrixJob, send: Send) -> ImatrixAnswer:
    from profiler.imatrix.collector import CollectingEngine
    from profiler.imatrix.run import config_of, parts_of, read_windows
    from quant.gguf_io.imatrix_writer import write_imatrix

    engine = CollectingEngine(with_output=job.with_output)
    engine.load(Path(job.path), config_of(job.n_ctx, job.n_ctx, job.n_threads))
    tokens = engine.tokenize(job.text)
    windows = windows_of(tokens, engine.bos_token, job.n_ctx, job.n_chunks)
    if not windows:
        return ImatrixAnswer(n_tokens=len(tokens))
    parts = parts_of(job.n_ctx, engine.n_vocab)
    engine.open_context(config_of(job.n_ctx, max(parts), job.n_threads))
    read_windows(engine, windows, parts, lambda done: send(WindowsDone(done=done, total=len(windows))))
    sums = engine.squares.result()
    engine.close()
    if not sums:
        raise EngineError("decode", "no product with a block's matrix was seen; llama.cpp names them in another way")
    write_imatrix(Path(job.out), sums, dataset=job.dataset, n_chunks=len(windows), n_tokens_per_chunk=job.n_ctx)
    unused = tuple(sorted(name for name, each in sums.items() if not each.counts.all()))
    return ImatrixAnswer(n_tokens=len(tokens), n_windows=len(windows), n_tensors=len(sums), unused=unused)


if __name__ == "__main__":
    serve_with_progress(ImatrixJob, work)
