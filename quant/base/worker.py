"""The child's side of a child process: requests as JSON lines on stdin, replies on the real stdout.

stdin stays open as long as the parent lives: when it closes, the child ends. Whatever libraries print to stdout goes to
stderr.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, TypeVar

import msgspec

from quant.base.text import decoded, encoded

J = TypeVar("J", bound=msgspec.Struct)
Send = Callable[[msgspec.Struct], None]

_PARENT_IS_GONE = 3  # exit status


class Pipes:
    """The child's end of the pipes to its parent; made before anything is printed."""

    def __init__(self) -> None:
        self._stdout = prepare_child()
        self._stdin = sys.stdin.buffer

    def receive(self, kind: type[J]) -> J | None:
        """Wait for a request; None where the parent wants nothing more."""
        line = self._stdin.readline()
        return decoded(line, kind) if line else None

    def send(self, message: msgspec.Struct) -> None:
        """Send one JSON line."""
        self._stdout.write(encoded(message) + b"\n")
        self._stdout.flush()

    def send_last(self, answer: object) -> None:
        """Send the answer of a child that may have sent lines before: the end of the pipe ends it, not a newline."""
        self._stdout.write(encoded(answer))
        self._stdout.flush()

    def end_with_parent(self, unfinished: Sequence[str] = ()) -> None:
        """End this process when the parent is gone, and remove the files that it did not finish.

        To be called after the last request: it reads what comes next.
        """

        def wait() -> None:
            # Blocks without the interpreter's lock and without waking, so it costs a measurement nothing.
            os.read(self._stdin.fileno(), 1)
            for path in unfinished:
                with suppress(OSError):
                    Path(path).unlink(missing_ok=True)
            os._exit(_PARENT_IS_GONE)

        threading.Thread(target=wait, daemon=True).start()

    def requests(self) -> "SimpleQueue[bytes]":
        """Return a queue that another thread fills with requests; the process ends when the parent is gone."""
        queue: SimpleQueue[bytes] = SimpleQueue()

        def read() -> None:
            for line in self._stdin:
                queue.put(line)
            os._exit(_PARENT_IS_GONE)

        threading.Thread(target=read, daemon=True).start()
        return queue


def prepare_child() -> BinaryIO:
    """Leave Ctrl-C to the parent and no core dump behind; return the real stdout, and send other output to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        # When memory runs out, the kernel is to kill this process and not its parent.
        Path("/proc/self/oom_score_adj").write_text("900")
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stdout


def serve(kind: type[J], work: Callable[[J], object]) -> None:
    """Be a worker for one job: read it, do it, send the answer, end."""
    serve_with_progress(kind, lambda job, _send: work(job))


def serve_with_progress(kind: type[J], work: Callable[[J, Send], object]) -> None:
    """Be a worker for one job that sends lines before its answer."""
    pipes = Pipes()
    job = pipes.receive(kind)
    if job is not None:
        pipes.end_with_parent()
        pipes.send_last(work(job, pipes.send))
    end_child()


def serve_many(kind: type[J], work: Callable[[J], msgspec.Struct]) -> None:
    """Be a worker that answers one request after the other, until the parent is gone."""
    pipes = Pipes()
    requests = pipes.requests()
    while True:
        pipes.send(work(decoded(requests.get(), kind)))


def end_child() -> None:
    """End this process at once: llama.cpp's destructors at exit add nothing and can crash on a Mac."""
    os._exit(0)
