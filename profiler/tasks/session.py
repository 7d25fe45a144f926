"""One call of `tasks`: the harness is started, the files are made, and every answer is written as it comes."""

from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Self

import msgspec

from profiler.analysis.memory_need import needed_bytes
from profiler.device.environment import available_memory_bytes
from profiler.measure.launch import failure_of
from profiler.records.config import base_config
from profiler.records.environment import Environment
from profiler.records.record import Record
from profiler.records.task import TaskRecord
from profiler.results.file import Results
from profiler.tables.format import clean
from profiler.tasks.messages import (
    LEAST_CELLS,
    HarnessOptions,
    Model,
    Ready,
    TaskFile,
    TaskProgress,
    TasksAnswer,
    TasksJob,
)
from profiler.tasks.sets import HARNESS, wanted_tasks
from profiler.tasks.task_files import check_folder
from quant.base.child import Child
from quant.base.errors import UserError
from quant.base.progress import progress, say
from quant.base.units import format_bytes
from quant.sources.prepare import Prepared
from quant.sources.real_weights import refuse_synthetic

_LINE = TaskProgress | TaskRecord


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and how."""

    names: tuple[str, ...]  # of sets, tasks and groups
    shots: tuple[int, ...] | None = None  # None: each task's own
    n_limit: int | None = None
    n_ctx: int | None = None
    include: Path | None = None
    trust_include: bool = False
    execute_code: bool = False
    n_threads: int = 1
    repack: bool = True
    timeout_s: float | None = None


class TaskCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How many tasks of how many files there were."""

    n_ok: int
    n_failed: int
    n_known: int


def require_harness() -> None:
    """Check that the harness is installed, in the version whose figures these are.

    Raises:
        UserError: it is not.
    """
    try:
        found = version("lm_eval")
    except PackageNotFoundError:
        found = None
    if found != HARNESS:
        which = "is not installed" if found is None else f"is {found}, and {HARNESS} is needed"
        raise UserError(f"lm-evaluation-harness {which}; pip install 'slmprof[tasks]'")


def check_options(options: TaskOptions) -> None:
    """Check what can be checked before any file is made.

    Raises:
        UserError: the harness is missing, or a task file is refused.
    """
    require_harness()
    if options.include is not None and not options.trust_include:
        check_folder(options.include)
    if options.include is not None and not options.include.is_dir():
        raise UserError(f"--include {options.include} is no folder; name one with task files")


class HarnessProcess:
    """The harness in a process of its own, from now until the `with` block ends.

    Raises:
        UserError: a task is unknown, or runs code that was not allowed.
    """

    def __init__(self, options: TaskOptions) -> None:
        check_options(options)
        self._options = options
        self._wanted = tuple(wanted_tasks(options.names, options.shots))
        self._child = Child("profiler.tasks.worker")
        try:
            self._child.send(
                HarnessOptions(
                    names=tuple(each.name for each in self._wanted),
                    include=str(options.include.resolve()) if options.include else None,
                    trust_include=options.trust_include,
                    execute_code=options.execute_code,
                )
            )
            line = self._child.receive()
            if not line:
                raise self._ended_early()
            if (problem := msgspec.json.decode(line, type=Ready).problem) is not None:
                raise UserError(problem)
        except BaseException:
            self._child.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._child.close()

    def ask(
        self,
        files: Sequence[Prepared],
        environment: Environment,
        *,
        known: Results,
        write: Callable[[Record], None],
    ) -> TaskCounts:
        """Put the tasks to every file, once, and write each record as soon as it is there.

        Raises:
            UserError: weights are synthetic, or the harness ended early.
        """
        refuse_synthetic(files)
        files = list({file.artifact.sha256: file for file in files}.values())
        fitting = [file for file in files if self._fits(file)]
        n_failed = len(files) - len(fitting)
        names = {file.artifact.sha256: f"{file.artifact.model} {file.artifact.level}" for file in fitting}
        job = TasksJob(
            files=tuple(
                TaskFile(sha256=sha256, name=name, model=_model(file, self._options))
                for file, (sha256, name) in zip(fitting, names.items(), strict=True)
            ),
            wanted=self._wanted,
            n_limit=self._options.n_limit,
            timeout_s=self._options.timeout_s,
            env_id=environment.id,
            known=tuple(record.key for record in known.tasks if record.status == "ok"),
        )
        n_ok = 0
        self._child.send(job)
        while (line := self._child.receive()).endswith(b"\n"):
            found: TaskProgress | TaskRecord = msgspec.json.decode(line, type=_LINE)
            if isinstance(found, TaskProgress):
                progress(found.what, found.n_done, found.n_requests)
                continue
            write(found)
            n_ok, n_failed = n_ok + (found.status == "ok"), n_failed + (found.status != "ok")
            say(clean(f"{names[found.artifact_sha256]}, {describe(found)}"))
        if not line:
            raise self._ended_early()
        answer = msgspec.json.decode(line, type=TasksAnswer)
        return TaskCounts(n_ok=n_ok, n_failed=n_failed, n_known=answer.n_known)

    def _fits(self, file: Prepared) -> bool:
        """Return whether a file fits in memory beside the harness; say where it does not."""
        artifact = file.artifact
        need, have = needed_bytes(artifact, base_config(n_ctx=LEAST_CELLS, n_outputs_max=1)), available_memory_bytes()
        if need > have:
            say(
                f"{artifact.model} {artifact.level} is left out: it needs about {format_bytes(need)} of memory, "
                f"{format_bytes(have)} are available; close programs, or ask a smaller level"
            )
        return need <= have

    def _ended_early(self) -> UserError:
        message = failure_of(self._child.wait()).message
        return UserError(f"lm-evaluation-harness ended early: {message}; the same command goes on")


def _model(file: Prepared, options: TaskOptions) -> Model:
    shape = file.artifact.shape
    return Model(
        path=str(file.path),
        n_threads=options.n_threads,
        repack=options.repack,
        n_ctx=options.n_ctx,
        state_bytes=shape.state_bytes if shape else 0,
    )


def describe(record: TaskRecord) -> str:
    """Return a record's main figure in one line."""
    shots = f" ({record.n_shots}-shot)" if record.n_shots else ""
    if record.error is not None:
        return f"{record.task}{shots} {record.status}: {record.error.message}"
    figures = [
        f"{each.name} {each.value:.4g}" + (f" ± {each.se:.2g}" if each.se is not None else "")
        for each in record.metrics[:3]
    ]
    return f"{record.task}{shots}: {', '.join(figures)}, {record.n_items} items"
