"""The parent's side of a worker: start it, wait without waking, name what killed it."""

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from profiler.measure.worker import Answer, Job
from profiler.records.record import Failure
from quant.base.child import last_words, one_line, run_child, signal_name

A = TypeVar("A", bound=Answer)


def run_worker(job: Job, *, timeout_s: float | None, module: str = "profiler.measure.worker") -> Answer:
    """Run one job in a process of its own; the answer reports whatever happens to it.

    A test gives the `module` of a worker with another engine.
    """
    job = msgspec.structs.replace(job, sent_ns=time.monotonic_ns())
    return run_in_child(module, job, Answer, Path(job.path).parent, timeout_s=timeout_s)


def run_in_child(
    module: str,
    job: msgspec.Struct,
    kind: type[A],
    folder: Path,
    *,
    timeout_s: float | None,
    on_news: Callable[[bytes], None] | None = None,
) -> A:
    """Run a worker module's job on a file in `folder`; the answer, of the given kind, tells a failure as well.

    `on_news` gets each line that the worker tells before its answer.
    """
    answer = _run(module, job, kind, timeout_s, on_news)
    if answer.failure is None:
        return answer
    message = fit_for_a_record(answer.failure.message, folder)
    return kind(failure=msgspec.structs.replace(answer.failure, message=message))


def _run(
    module: str, job: msgspec.Struct, kind: type[A], timeout_s: float | None, on_news: Callable[[bytes], None] | None
) -> A:
    ended = run_child(module, job, timeout_s=timeout_s, on_news=on_news)
    if ended.timed_out:
        return kind(failure=Failure(kind="timeout", message=f"no answer within {timeout_s:g} s; raise --timeout"))
    if ended.status == 0:
        with contextlib.suppress(msgspec.DecodeError):
            return msgspec.json.decode(ended.output, type=kind)
    return kind(failure=failure_of(ended.status, ended.stderr))


def failure_of(status: int, stderr: str) -> Failure:
    """Say how a worker ended that gave no answer."""
    name = signal_name(status)
    if name in ("SIGKILL", "SIGTERM"):
        return Failure(
            kind="killed",
            message="the worker was killed from outside, most often because memory ran out; "
            "try a smaller --n-ctx, --ubatch or level",
            signal=name,
        )
    words = last_words(stderr)
    if name:
        return Failure(kind="abort", message=words or "llama.cpp ended the process without a word", signal=name)
    return Failure(kind="worker", message=words or f"the worker ended with status {status} and no answer")


def fit_for_a_record(message: str, folder: Path) -> str:
    """Cut off folders, since records hold no paths, and what a terminal would obey: a file's names are a stranger's."""
    # A folder's name may hold spaces, so these two are looked for as they are written.
    for known in (folder, Path(os.path.expanduser("~"))):  # noqa: PTH111  gives "~" where there is no home
        if len(known.parts) > 1:
            message = message.replace(f"{known}{os.sep}", "")
    return one_line(message)
