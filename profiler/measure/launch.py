"""The parent's side of a worker: run its job, and turn whatever ends it early into a failure."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from profiler.measure.worker import Answer, Job
from profiler.records.failure import Failure
from quant.base.child import Ending, run_child
from quant.base.text import message_line

A = TypeVar("A", bound=Answer)


def run_worker(
    job: Job,
    *,
    timeout_s: float | None,
    on_minute: Callable[[Answer], None] = lambda answer: None,
    module: str = "profiler.measure.worker",
) -> Answer:
    """Run one job in a process of its own; whatever ends it, the answer says so.

    Args:
        job: what to measure.
        timeout_s: beyond what the load is sustained for; None: no limit.
        on_minute: gets each minute of a sustained load but the last, as soon as it is over.
        module: a test's worker with another engine.
    """
    job = msgspec.structs.replace(job, sent_ns=time.monotonic_ns())
    return run_in_child(
        module,
        job,
        Answer,
        Path(job.path).parent,
        timeout_s=timeout_s and timeout_s + job.config.sustain_s,
        on_progress=lambda line: on_minute(msgspec.json.decode(line, type=Answer)),
    )


def run_in_child(
    module: str,
    job: msgspec.Struct,
    kind: type[A],
    folder: Path,
    *,
    timeout_s: float | None,
    on_progress: Callable[[bytes], None] = lambda line: None,
) -> A:
    """Run a worker module's job on a file in `folder`; its answer is of the given kind, and may be a failure.

    Args:
        on_progress: gets each line that the worker sends before its answer.
    """
    output, ending = run_child(module, job, timeout_s=timeout_s, on_progress=on_progress)
    if ending.timed_out:
        return kind(failure=Failure(kind="timeout", message=f"no answer within {timeout_s:g} s; raise --timeout"))
    answer = _answer_of(output, ending, kind) or kind(failure=failure_of(ending))
    if answer.failure is None:
        return answer
    message = message_line(answer.failure.message, folder)
    return kind(failure=msgspec.structs.replace(answer.failure, message=message))


def _answer_of(output: bytes, ending: Ending, kind: type[A]) -> A | None:
    if ending.status == 0:
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(output, type=kind)
    return None


def failure_of(ending: Ending) -> Failure:
    """Return why a worker ended without an answer."""
    if ending.killed_from_outside:
        return Failure(
            kind="killed",
            message="the worker was killed from outside, most often because memory ran out; "
            "try a smaller --n-ctx, --ubatch or level",
            signal=ending.signal,
        )
    if ending.signal:
        message = ending.error_line or "llama.cpp ended the process without a message"
        return Failure(kind="abort", message=message, signal=ending.signal)
    message = ending.error_line or f"the worker ended with status {ending.status} and no answer"
    return Failure(kind="worker", message=message)
