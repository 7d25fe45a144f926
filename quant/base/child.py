"""Child processes: what may crash runs in one, and none outlives its parent. This is the parent's side.

The child is a module of this program; quant/base/worker.py is its side. Both exchange JSON lines: requests go to the
child's stdin, which stays open as long as the parent lives, replies come from its stdout.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, NamedTuple, Self

import msgspec

from quant.base.text import encoded

_STDERR_TAIL_BYTES = 8192
# What the kernel sends when memory runs out, and what a service manager sends before.
_KILLED_FROM_OUTSIDE = ("SIGKILL", "SIGTERM")


def child_command(module: str) -> list[str]:
    """Return the command that runs a module of this program in a process."""
    return [sys.executable, "-P", "-m", module]


def child_environment() -> dict[str, str]:
    """Return the parent's variables, with llama.cpp's debugger off and this program's packages importable."""
    environment = dict(os.environ)
    environment["GGML_NO_BACKTRACE"] = "1"
    root = str(Path(__file__).resolve().parents[2])
    paths = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = root + (os.pathsep + paths if paths else "")
    return environment


class Ending(NamedTuple):
    """How a child ended."""

    status: int  # negative: the number of the signal that ended it
    stderr: str  # the end of it
    timed_out: bool = False

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it; None where none did."""
        if self.status >= 0:
            return None
        try:
            return signal.Signals(-self.status).name
        except ValueError:
            return f"signal {-self.status}"

    @property
    def killed_from_outside(self) -> bool:
        """Whether something else killed it, most often the kernel when memory ran out."""
        return self.signal in _KILLED_FROM_OUTSIDE

    @property
    def error_line(self) -> str:
        """The line of stderr that names the error, else the last one."""
        return error_line(self.stderr)


class Child:
    """A module of this program in a process of its own, from now until the `with` block ends.

    Waiting blocks: it does not wake the parent, which would disturb what the child measures.
    """

    def __init__(self, module: str) -> None:
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  close() closes it
        self._process = subprocess.Popen(  # noqa: S603  this program itself
            child_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=child_environment(),
        )
        self._timed_out = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def time_limit(self, limit_s: float | None) -> Iterator[None]:
        """Kill the child if the block takes longer; None or 0 is no limit."""
        if not limit_s:
            yield
            return
        watchdog = threading.Timer(limit_s, self._time_out)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def send(self, message: msgspec.Struct) -> None:
        """Send one JSON line. A child that has ended is noticed by what it does not answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(encoded(message) + b"\n")
            self._process.stdin.flush()

    def receive(self) -> bytes:
        """Return the next line; without a newline it is the last one, and empty where the child ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def wait(self) -> Ending:
        """Wait for a child that ends by itself."""
        status = self._process.wait()
        return Ending(status, tail_of(self._stderr), self._timed_out.is_set())

    def close(self) -> None:
        """Kill the child if it still runs, and free what belongs to it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # Before its stdin is closed: it would take that for the end of its parent and remove what it has written.
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._stderr.close()

    def _time_out(self) -> None:
        self._timed_out.set()
        self._process.kill()


def run_child(
    module: str,
    job: msgspec.Struct,
    *,
    timeout_s: float | None,
    on_progress: Callable[[bytes], None] = lambda line: None,
) -> tuple[bytes, Ending]:
    """Run a module on one job, and return its answer in JSON and how it ended.

    Args:
        on_progress: gets each line that the child sends before its answer.
    """
    with Child(module) as child, child.time_limit(timeout_s):
        child.send(job)
        while (line := child.receive()).endswith(b"\n"):
            on_progress(line)
        return line, child.wait()


def tail_of(stderr: IO[bytes]) -> str:
    """Return the end of what a process wrote to stderr."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _STDERR_TAIL_BYTES))
    return stderr.read().decode(errors="replace")


def error_line(stderr: str) -> str:
    """Return the last line that names an error, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line for line in lines if "GGML_ASSERT" in line or "error" in line.lower()]
    return (errors or lines or [""])[-1]
