"""Limits on accuracy: a level that is made is asked the tasks once, and is out where it does not surely meet them."""

from collections.abc import Callable
from typing import NamedTuple

from profiler.analysis.accuracy.figures import accuracies
from profiler.recommend.candidates import accuracy_spans, loss_span
from profiler.recommend.limits import accuracy_misses
from profiler.recommend.records import Limits
from profiler.records.environment import Environment
from profiler.records.record import Record
from profiler.records.task import TaskRecord
from profiler.results.file import Results
from profiler.tasks.session import HarnessProcess, TaskOptions
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact
from quant.sources.prepare import Prepared

DEFAULT_TASKS = ("offline",)  # of --max-accuracy-loss without --min-accuracy


class AnswerTools(NamedTuple):
    """What asking needs."""

    environment: Environment
    results: Results  # what is known
    write: Callable[[Record], None]
    write_artifact: Callable[[Artifact], None]
    reference: Callable[[], Prepared] | None  # makes the unquantized file


class Answers:
    """What the levels of one pick answer."""

    def __init__(self, limits: Limits, n_threads: int, tools: AnswerTools) -> None:
        """Check that the tasks can be asked.

        Raises:
            UserError: the harness is missing, or there is nothing to compare with.
        """
        self._limits, self._tools = limits, tools
        names = tuple(task for task, _ in limits.min_accuracy) or DEFAULT_TASKS
        self._options = TaskOptions(names=names, n_threads=n_threads)
        HarnessProcess(self._options).close()
        if limits.max_accuracy_loss is not None and tools.reference is None:
            raise UserError("--max-accuracy-loss needs the unquantized model to compare with; remove it")
        self._records: dict[object, TaskRecord] = {record.key: record for record in tools.results.tasks}
        self._artifacts = dict(tools.results.artifacts)
        self._lacking: dict[str, str | None] = {}

    def lacking(self, file: Prepared) -> str | None:
        """Return why a file does not surely meet the limits, asking it if need be; None where it does."""
        sha256 = file.artifact.sha256
        if sha256 not in self._lacking:
            if self._limits.max_accuracy_loss is not None and self._tools.reference is not None:
                self._ask(self._tools.reference())
            self._ask(file)
            self._lacking[sha256] = self._judge(sha256)
        return self._lacking[sha256]

    def _ask(self, file: Prepared) -> None:
        self._artifacts[file.artifact.sha256] = file.artifact
        self._tools.write_artifact(file.artifact)

        def write(record: Record) -> None:
            assert isinstance(record, TaskRecord)
            self._tools.write(record)
            self._records[record.key] = record

        with HarnessProcess(self._options) as harness:
            harness.ask([file], self._tools.environment, known=self._results(), write=write)

    def _results(self) -> Results:
        return Results(artifacts=self._artifacts, tasks=list(self._records.values()))

    def _judge(self, sha256: str) -> str | None:
        figures = accuracies(self._results()).get(sha256)
        if figures is None:
            return "it has no answers to the tasks"
        found = accuracy_misses(accuracy_spans(figures), loss_span(figures), self._limits)
        return "; ".join(miss.needs for miss in found) or None
