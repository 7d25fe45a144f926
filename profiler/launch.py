"""The parent's side of a worker: start it, wait without waking, name what killed it."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import msgspec

from profiler.record import Failure
from profiler.worker import Answer, Job
from quant.child import child_command, child_environment, last_words, one_line, signal_name, tail_of

A = TypeVar("A", bound=Answer)


def run_worker(job: Job, *, timeout_s: float | None) -> Answer:
    """Run one job in a process of its own. Whatever happens to the process, the answer tells it."""
    job = msgspec.structs.replace(job, sent_ns=time.monotonic_ns())
    return run_in_child("profiler.worker", job, Answer, Path(job.path).parent, timeout_s=timeout_s)


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
    return kind(failure=_failure_of(ended.status, ended.stderr))


class Ended(NamedTuple):
    """What a child left behind."""

    output: bytes
    status: int
    stderr: str  # the end of it
    timed_out: bool


def run_child(
    module: str, job: msgspec.Struct, *, timeout_s: float | None, on_news: Callable[[bytes], None] | None = None
) -> Ended:
    """Run a module of this program in a process that is given one job, and wait for its end without waking.

    A worker that tells how it gets on wakes the parent by each line; the answer is the last one.
    """
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(  # noqa: S603  this program itself
            child_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=child_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            process.kill()

        watchdog = threading.Timer(timeout_s, stop) if timeout_s else None
        if watchdog:
            watchdog.daemon = True
            watchdog.start()
        try:
            with contextlib.suppress(BrokenPipeError):
                # Stays open until the answer is there: when it closes, the child ends.
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
            output = process.stdout.read() if on_news is None else _last_line(process.stdout, on_news)
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            if watchdog:
                watchdog.cancel()
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        return Ended(output, status, tail_of(stderr), timed_out.is_set())


def _last_line(stdout: IO[bytes], on_news: Callable[[bytes], None]) -> bytes:
    for line in stdout:
        if not line.endswith(b"\n"):
            return line
        on_news(line)
    return b""


def _failure_of(status: int, stderr: str) -> Failure:
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
