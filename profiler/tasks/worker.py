"""One process with the harness: every file through every task. Run as `python -m profiler.tasks.worker`.

The model of each file is in another process, which may crash without the tasks being loaded again.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from profiler.measure.launch import failure_of
from profiler.records.failure import Failure
from profiler.records.task import TaskRecord
from profiler.tasks.harness import Harness
from profiler.tasks.messages import (
    Ask,
    HarnessOptions,
    Model,
    Ready,
    Reply,
    TaskFile,
    TaskKey,
    TaskProgress,
    TasksAnswer,
    TasksJob,
    Wanted,
)
from profiler.tasks.sets import HARNESS
from quant.base.child import Child
from quant.base.errors import UserError
from quant.base.text import message_line
from quant.base.units import utc_now
from quant.base.worker import Pipes, Send, end_child


class _EngineError(Exception):
    """A model's process failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def main() -> None:
    """Load the tasks' names and say so; then put the tasks to files, and send each record as soon as it is there."""
    pipes = Pipes()
    options = pipes.receive(HarnessOptions)
    if options is None:
        return
    try:
        harness = Harness(options)
        _check_names(harness, options)
    except UserError as error:
        pipes.send(Ready(problem=str(error)))
        end_child()
    pipes.send(Ready())
    job = pipes.receive(TasksJob)
    if job is None:
        end_child()
        return
    pipes.end_with_parent()
    session = _Session(job, harness, pipes.send)
    for file in job.files:
        session.ask(file)
    pipes.send_last(TasksAnswer(n_known=session.n_known))
    end_child()


def _check_names(harness: Harness, options: HarnessOptions) -> None:
    """Refuse what there is not, and what runs code.

    Raises:
        UserError: a task is unknown, or runs what a model writes without --execute-code.
    """
    for name in harness.unknown():
        near = harness.similar(name)
        hint = f"did you mean {' or '.join(near)}?" if near else "slmprof tasks --help names sets of tasks"
        raise UserError(f"there is no task '{name}' in lm-evaluation-harness {HARNESS}; {hint}")
    if not options.execute_code and (names := harness.running_code()):
        raise UserError(
            f"{', '.join(names)} runs the Python code that the model writes; --execute-code allows it, in a process "
            "without network"
        )


class _Session:
    def __init__(self, job: TasksJob, harness: Harness, send: Send) -> None:
        self._job, self._harness, self._send = job, harness, send
        self._done = set(job.known)
        self.n_known = 0

    def ask(self, file: TaskFile) -> None:
        """Put every task to one file."""
        engine = _Engine(file.model, self._job.timeout_s)
        try:
            for wanted in self._job.wanted:
                self._ask(file, wanted, engine)
        finally:
            engine.close()

    def _ask(self, file: TaskFile, wanted: Wanted, engine: "_Engine") -> None:
        try:
            tasks = self._harness.tasks(wanted.name)
        except Exception as error:  # noqa: BLE001  a task's own code raises anything
            key = (file.sha256, wanted.name, 0, self._job.n_limit, HARNESS)
            self._send(self._record(key, wanted, error=Failure(kind="data", message=f"not loaded: {_why(error)}")))
            return
        for name, task in tasks.items():
            for n_shots in self._harness.shots_of(task, wanted.shots):
                key = (file.sha256, name, n_shots, self._job.n_limit, HARNESS)
                if key in self._done:
                    self.n_known += 1
                    continue
                self._done.add(key)
                shots = f", {n_shots} shots" if n_shots else ""
                with engine.reporting(self._send, f"{file.name}, {name}{shots}"):
                    self._send(self._answers(key, wanted, task, engine))

    def _answers(self, key: TaskKey, wanted: Wanted, task: Any, engine: "_Engine") -> TaskRecord:
        blank, begun_ns = self._record(key, wanted, error=None), time.monotonic_ns()
        try:
            found = self._harness.evaluate(key[1], task, key[2], key[3], engine.ask)
        except _EngineError as error:
            return msgspec.structs.replace(blank, status="failed", error=error.failure)
        except Exception as error:  # noqa: BLE001  a task's own code raises anything
            return msgspec.structs.replace(blank, status="failed", error=Failure(kind="data", message=_why(error)))
        return msgspec.structs.replace(
            blank,
            n_items=found.n_items,
            version=found.version,
            prompts_sha256=found.prompts_sha256,
            data_sha256=found.data_sha256,
            metrics=found.metrics,
            items=found.items,
            wall_ns=time.monotonic_ns() - begun_ns,
            peak_rss_bytes=engine.peak_rss_bytes,
        )

    def _record(self, key: TaskKey, wanted: Wanted, error: Failure | None) -> TaskRecord:
        artifact_sha256, name, n_shots, n_limit, harness = key
        group = wanted.group or (wanted.name if wanted.name != name else None)
        return TaskRecord(
            artifact_sha256=artifact_sha256,
            env_id=self._job.env_id,
            task=name,
            group=group,
            n_shots=n_shots,
            n_limit=n_limit,
            harness=harness,
            status="failed" if error else "ok",
            started_at=utc_now(),
            n_threads=self._job.files[0].model.n_threads,
            error=error,
        )


class _Engine:
    """A file's model in a process of its own, started when it is asked, and again after it has failed."""

    def __init__(self, model: Model, timeout_s: float | None) -> None:
        self._model, self._timeout_s = model, timeout_s
        self._child: Child | None = None
        self._broken: Failure | None = None  # why the file cannot be opened at all
        self._report: Callable[[int, int], None] = lambda n_done, n_requests: None
        self.peak_rss_bytes: int | None = None

    @contextmanager
    def reporting(self, send: Send, what: str) -> Iterator[None]:
        """Send how far the requests of the block are."""
        self._report = lambda n_done, n_requests: send(TaskProgress(what=what, n_done=n_done, n_requests=n_requests))
        yield

    def ask(self, ask: Ask) -> Reply:
        """Return the answer.

        Raises:
            _EngineError: there is none.
        """
        if self._broken is not None:
            raise _EngineError(self._broken)
        n_requests = len(ask.pairs) + len(ask.texts) + len(ask.continuations)
        if self._child is None:
            self._child = Child("profiler.tasks.engine_worker")
            self._child.send(self._model)
        child = self._child
        self._report(0, n_requests)
        with child.time_limit(self._timeout_s):
            child.send(ask)
            while (line := child.receive()).endswith(b"\n"):
                reply = msgspec.json.decode(line, type=Reply)
                if reply.n_done is None:
                    self.peak_rss_bytes = reply.peak_rss_bytes
                    if reply.failure is None:
                        return reply
                    failure = self._clean(reply.failure)
                    self._broken = failure if failure.kind == "load" else None
                    raise _EngineError(failure)
                self._report(reply.n_done, n_requests)
            ending = child.wait()
        self.close()
        if ending.timed_out:
            raise _EngineError(
                Failure(kind="timeout", message=f"no answer within {self._timeout_s:g} s; raise --timeout")
            )
        raise _EngineError(self._clean(failure_of(ending)))

    def _clean(self, failure: Failure) -> Failure:
        message = message_line(failure.message, Path(self._model.path).parent)
        return msgspec.structs.replace(failure, message=message)

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None


def _why(error: Exception) -> str:
    """Return the first line of an error, with its kind where it says little by itself."""
    text = message_line(str(error).strip().split("\n")[0])
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"[:300]


if __name__ == "__main__":
    main()
