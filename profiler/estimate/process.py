"""The parent's side: processes that are kept from model to model, and replaced where one was lost."""

import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import msgspec

from profiler.estimate.records import Question, Reply
from profiler.measure.launch import failure_of
from profiler.records.record import Failure
from quant.base.child import child_command, child_environment, tail_of

_TIMEOUT_S = 120.0  # a model takes a second or two
_MODULE = "profiler.estimate.worker"


class Asker:
    """One process; a question that ends it costs that question only."""

    def __init__(self, module: str = _MODULE) -> None:
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  close() closes it

    def ask(self, question: Question, *, timeout_s: float = _TIMEOUT_S) -> Reply:
        """Give the reply; whatever happens to the process, the reply tells it."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        timed_out = threading.Event()

        def stop() -> None:
            timed_out.set()
            process.kill()

        watchdog = threading.Timer(timeout_s, stop)
        watchdog.daemon = True
        watchdog.start()
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(question) + b"\n")
                process.stdin.flush()
            line = process.stdout.readline()
        finally:
            watchdog.cancel()
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(line, type=Reply)
        status = self._end()
        if timed_out.is_set():
            return Reply(failure=Failure(kind="timeout", message=f"no answer within {timeout_s:g} s"))
        return Reply(failure=failure_of(status, tail_of(self._stderr)))

    def _start(self) -> subprocess.Popen[bytes]:
        self._stderr.truncate(0)
        self._process = subprocess.Popen(  # noqa: S603  this program itself
            child_command(self._module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=child_environment(),
        )
        return self._process

    def _end(self) -> int:
        process, self._process = self._process, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        return process.wait()

    def close(self) -> None:
        """End the process, whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._end()
        self._stderr.close()


def ask_all(
    questions: Sequence[Question], *, n_processes: int, tell: Callable[[int, int], None] = lambda done, total: None
) -> Iterator[Reply]:
    """Give the replies in the questions' order, some questions at a time.

    Args:
        tell: told how many are answered, and how many there are.
    """
    n_processes = max(1, min(n_processes, len(questions)))
    free: queue.SimpleQueue[Asker] = queue.SimpleQueue()
    askers = [Asker() for _ in range(n_processes)]
    for asker in askers:
        free.put(asker)

    def answer(question: Question) -> Reply:
        asker = free.get()
        try:
            return asker.ask(question)
        finally:
            free.put(asker)

    pool = ThreadPoolExecutor(n_processes)
    try:
        for done, reply in enumerate(pool.map(answer, questions), 1):
            tell(done, len(questions))
            yield reply
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for asker in askers:
            with closing(asker):
                pass
