"""A worker of estimate that writes into its folder and is ended: python -m tests.support.scripted_estimator."""

import os
from pathlib import Path

from profiler.estimate.records import Question, Reply
from quant.base.worker import serve_many


def answer(question: Question) -> Reply:
    """Write a file, and abort as llama.cpp does where an assertion fails."""
    (Path(question.scratch) / "header.gguf").write_bytes(b"GGUF")
    os.abort()


if __name__ == "__main__":
    serve_many(Question, answer)
