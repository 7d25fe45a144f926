"""Child processes: what may crash runs in one, and none outlives its parent.

A child gets one job as a JSON line on stdin, which stays open: when it closes, the parent is gone. It answers on the
real stdout; whatever libraries print there goes to stderr.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, TypeVar

import msgspec

from quant.base.text import spaced

J = TypeVar("J", bound=msgspec.Struct)

_STDERR_TAIL_BYTES = 8192
_MESSAGE_CHARS = 400
_FOLDERS = re.compile(r"(?:[A-Za-z]:)?[/\\](?:[^\s:/\\]+[/\\])+")
_PARENT_IS_GONE = 3  # exit status


def child_command(module: str) -> list[str]:
    """Give the command that runs a module of this program in a process."""
    return [sys.executable, "-P", "-m", module]


def child_environment() -> dict[str, str]:
    """Give the parent's variables, without llama.cpp's debugger and with this program's packages in reach."""
    environment = dict(os.environ)
    environment["GGML_NO_BACKTRACE"] = "1"
    root = str(Path(__file__).resolve().parents[2])
    paths = environment.get("PYTHONPATH", "")
    environment["PYTHONPATH"] = root + (os.pathsep + paths if paths else "")
    return environment


def prepare_child() -> BinaryIO:
    """Leave Ctrl-C to the parent, leave no core dump; give the real stdout, and to all who print there stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answer


def die_with_parent(stdin: BinaryIO, unfinished: Sequence[str] = ()) -> None:
    """End this process when stdin closes, and remove the files that were not finished."""

    def wait() -> None:
        # Blocks without the interpreter's lock and without waking, so it costs a measurement nothing.
        os.read(stdin.fileno(), 1)
        for path in unfinished:
            with suppress(OSError):
                Path(path).unlink(missing_ok=True)
        os._exit(_PARENT_IS_GONE)

    threading.Thread(target=wait, daemon=True).start()


def serve(kind: type[J], work: Callable[[J], object]) -> None:
    """Be a worker: read one job, do it, write its answer, end."""
    serve_and_tell(kind, lambda job, _tell: work(job))


def serve_and_tell(kind: type[J], work: Callable[[J, Callable[[object], None]], object]) -> None:
    """Be a worker that has more to say than its answer: what it tells goes out at once, one JSON line each."""
    stdout = prepare_child()
    with suppress(OSError):
        # When memory runs out, this process is the one to go.
        Path("/proc/self/oom_score_adj").write_text("900")
    stdin = sys.stdin.buffer
    job = msgspec.json.decode(stdin.readline(), type=kind)
    die_with_parent(stdin)

    def tell(news: object) -> None:
        stdout.write(msgspec.json.encode(news) + b"\n")
        stdout.flush()

    stdout.write(msgspec.json.encode(work(job, tell)))
    stdout.flush()
    end_child()


def end_child() -> None:
    """End this process at once: llama.cpp's destructors at exit add nothing and can crash on a Mac."""
    os._exit(0)


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
            with suppress(BrokenPipeError):
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
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        return Ended(output, status, tail_of(stderr), timed_out.is_set())


def _last_line(stdout: IO[bytes], on_news: Callable[[bytes], None]) -> bytes:
    for line in stdout:
        if not line.endswith(b"\n"):
            return line
        on_news(line)
    return b""


def tail_of(stderr: IO[bytes]) -> str:
    """Give the end of what a child wrote to stderr."""
    size = stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, size - _STDERR_TAIL_BYTES))
    return stderr.read().decode(errors="replace")


def signal_name(status: int) -> str | None:
    """Name the signal that ended a process; None where none did."""
    if status >= 0:
        return None
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


def last_words(stderr: str) -> str:
    """Give the line that says why, else the last line."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if "GGML_ASSERT" in line or "error" in line.lower()]
    return (telling or lines or [""])[-1]


def one_line(message: str) -> str:
    """Cut off folders, since records hold no paths, and what a terminal would obey, since names are a stranger's."""
    message = _FOLDERS.sub("", message)
    return spaced(message)[:_MESSAGE_CHARS].strip()
