"""A worker that quantizes files and opens the first: python -m tests.support.quantizing_worker.

One process for all models of a test, since its start takes longer than all else.
"""

from pathlib import Path

import msgspec

from profiler.engine.llama import LlamaEngine
from profiler.records.config import RunConfig
from profiler.records.round import Buffers
from quant.base.worker import serve_many
from quant.quantize.llama_worker import Job, work


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Quantize with each job, then open a context of the first job's file."""

    jobs: tuple[Job, ...]
    config: RunConfig


def answer(request: Request) -> Buffers:
    """Return the buffers of the context."""
    for job in request.jobs:
        work(job, lambda _event: None)
    engine = LlamaEngine()
    engine.load(Path(str(request.jobs[0].out)), request.config)
    engine.open_context(request.config)
    try:
        return engine.buffers()
    finally:
        engine.close()


if __name__ == "__main__":
    serve_many(Request, answer)
