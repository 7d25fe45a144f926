"""The parent's side: processes that size up one model after the other, each replaced when a model ends it."""

import queue
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import msgspec

from profiler.estimate.records import Question, Reply
from profiler.measure.launch import failure_of
from profiler.records.failure import Failure
from quant.base.child import Child
from quant.base.progress import progress

_TIMEOUT_S = 120.0  # a model takes a second or two


class Estimator:
    """One process, restarted after a question that ended it; use it in a `with` block or close it."""

    def __init__(self, module: str = "profiler.estimate.worker") -> None:
        self._module = module
        self._child: Child | None = None

    def ask(self, question: Question, *, timeout_s: float = _TIMEOUT_S) -> Reply:
        """Return the reply; whatever ends the process, the reply says so, and nothing of it is left."""
        with tempfile.TemporaryDirectory(prefix="slmprof.") as scratch:
            return self._ask(msgspec.structs.replace(question, scratch=scratch), timeout_s)

    def _ask(self, question: Question, timeout_s: float) -> Reply:
        child = self._child = self._child or Child(self._module)
        with child.time_limit(timeout_s):
            child.send(question)
            line = child.receive()
            with suppress(msgspec.DecodeError):
                return msgspec.json.decode(line, type=Reply)
            ending = child.wait()
        self.close()
        if ending.timed_out:
            return Reply(failure=Failure(kind="timeout", message=f"no answer within {timeout_s:g} s"))
        return Reply(failure=failure_of(ending))

    def close(self) -> None:
        """End the process, whatever it does."""
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def __enter__(self) -> "Estimator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def ask_all(questions: Sequence[Question], *, n_processes: int) -> Iterator[Reply]:
    """Yield the replies in the questions' order, some questions at a time, and report the progress."""
    n_processes = max(1, min(n_processes, len(questions)))
    free: queue.SimpleQueue[Estimator] = queue.SimpleQueue()

    def answer(question: Question) -> Reply:
        estimator = free.get()
        try:
            return estimator.ask(question)
        finally:
            free.put(estimator)

    pool = ThreadPoolExecutor(n_processes)
    with ExitStack() as stack:
        for _ in range(n_processes):
            free.put(stack.enter_context(Estimator()))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        for done, reply in enumerate(pool.map(answer, questions), 1):
            progress("estimate", done, len(questions))
            yield reply
