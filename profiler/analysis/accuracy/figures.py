"""What files answer, next to their speed: accuracy by task, and what a level loses against the unquantized file."""

import math
from collections.abc import Mapping, Sequence

import msgspec

from profiler.analysis.accuracy.paired import differences_of, draws_of, ends_of, paired
from profiler.records.cell_summary import AccuracyFigures, CellSummary, TaskAccuracy
from profiler.records.quality import Mean
from profiler.records.span import Span
from profiler.records.task import TaskMetric, TaskRecord
from profiler.results.file import Results

_UNQUANTIZED_BPW = 15.0  # F16, BF16 and F32

Question = tuple[str, int, int | None, str]  # task, shots, limit, version of the harness


def question_of(record: TaskRecord) -> Question:
    """Return what records of different files must share to be compared."""
    return record.task, record.n_shots, record.n_limit, record.harness


def main_metric(record: TaskRecord) -> TaskMetric | None:
    """Return the metric that stands for the task."""
    if record.items is None:
        return None
    wanted = record.items.metric, record.items.filter
    return next((each for each in record.metrics if (each.name, each.filter) == wanted), None)


def accuracy_of(record: TaskRecord) -> Mean | None:
    """Return a task's share of right answers; None where its metric is another."""
    metric = main_metric(record)
    if record.status != "ok" or record.items is None or metric is None or not record.items.scores:
        return None
    if not metric.higher_is_better or not all(0 <= score <= 1 for score in record.items.scores):
        return None
    return Mean(value=metric.value, se=metric.se or 0.0)


def reference_of(records: Sequence[TaskRecord], results: Results) -> dict[str, str]:
    """Return the unquantized file of each model that was asked something, by the model's name: the most bits."""
    found: dict[str, tuple[float, str]] = {}
    for record in records:
        artifact = results.artifacts[record.artifact_sha256]
        if artifact.bpw >= _UNQUANTIZED_BPW:
            found[artifact.model] = max(found.get(artifact.model, (0.0, "")), (artifact.bpw, artifact.sha256))
    return {model: sha256 for model, (_, sha256) in found.items()}


def with_accuracy(cells: Sequence[CellSummary], results: Results) -> list[CellSummary]:
    """Put into each cell what its file answered."""
    if not results.tasks:
        return list(cells)
    figures = accuracies(results)
    return [
        msgspec.structs.replace(cell, accuracy=figures[cell.artifact.sha256])
        if cell.artifact.sha256 in figures
        else cell
        for cell in cells
    ]


def accuracies(results: Results) -> dict[str, AccuracyFigures]:
    """Return each file's accuracy, by its sha256.

    The one figure of a file is the mean over tasks that all files of its model answered with the fewest examples, the
    tasks of one group taken as one.
    """
    answered = [record for record in results.tasks if accuracy_of(record) is not None]
    by_file: dict[str, dict[Question, TaskRecord]] = {}
    for record in answered:
        by_file.setdefault(record.artifact_sha256, {})[question_of(record)] = record
    references = reference_of(answered, results)
    models: dict[str, list[str]] = {}
    for sha256 in by_file:
        models.setdefault(results.artifacts[sha256].model, []).append(sha256)
    found = {}
    for model, files in models.items():
        shared = set.intersection(*(set(by_file[sha256]) for sha256 in files))
        chosen = _fewest_shots(shared)
        reference = by_file.get(references.get(model, ""), {})
        for sha256 in files:
            found[sha256] = _figures(by_file[sha256], reference, chosen, is_reference=sha256 == references.get(model))
    return found


def _fewest_shots(questions: set[Question]) -> list[Question]:
    """Return of each task the question with the fewest examples, and of those the one with the most items."""
    chosen: dict[str, Question] = {}
    for question in sorted(questions, key=lambda each: (each[0], each[1], -(each[2] or math.inf), each[3])):
        chosen.setdefault(question[0], question)
    return list(chosen.values())


def _figures(
    records: Mapping[Question, TaskRecord],
    reference: Mapping[Question, TaskRecord],
    chosen: Sequence[Question],
    *,
    is_reference: bool,
) -> AccuracyFigures:
    by_task = []
    for question, record in records.items():
        mean, metric = accuracy_of(record), main_metric(record)
        assert mean is not None
        assert metric is not None
        other = None if is_reference else reference.get(question)
        against = paired(record, other) if other is not None else None
        by_task.append(
            TaskAccuracy(
                task=record.task,
                group=record.group,
                n_shots=record.n_shots,
                metric=metric.name,
                accuracy=mean,
                n_items=record.n_items,
                difference=against.difference if against else None,
                p=against.p if against else None,
            )
        )
    return AccuracyFigures(
        mean=_mean([records[question] for question in chosen]),
        loss=None if is_reference else _loss(records, reference, chosen),
        tasks=tuple(sorted({question[0] for question in chosen})),
        by_task=tuple(by_task),
        is_reference=is_reference,
    )


def unit_of(record: TaskRecord) -> str:
    """Return the task, or the group of tasks that count as one."""
    return record.group or record.task


def _units(records: Sequence[TaskRecord]) -> list[list[TaskRecord]]:
    units: dict[str, list[TaskRecord]] = {}
    for record in records:
        units.setdefault(unit_of(record), []).append(record)
    return list(units.values())


def _mean(records: Sequence[TaskRecord]) -> Mean | None:
    """Return the mean over units, in a unit over items, and its standard error."""
    units = _units(records)
    if not units:
        return None
    total = variance = 0.0
    for unit in units:
        n_items = sum(record.n_items for record in unit)
        for record in unit:
            mean = accuracy_of(record)
            assert mean is not None
            share = record.n_items / n_items
            total += share * mean.value
            variance += (share * mean.se) ** 2
    return Mean(value=total / len(units), se=math.sqrt(variance) / len(units))


def _loss(
    records: Mapping[Question, TaskRecord], reference: Mapping[Question, TaskRecord], chosen: Sequence[Question]
) -> Span | None:
    """Return how much lower the mean is than the reference's, from the same items, with a 95 % interval."""
    losses: dict[str, list[float]] = {}  # by unit
    for question in chosen:
        other = reference.get(question)
        differences = differences_of(records[question], other) if other is not None else None
        if differences is None:
            return None
        losses.setdefault(unit_of(records[question]), []).extend(-each for each in differences)
    if not losses:
        return None
    value = math.fsum(math.fsum(each) / len(each) for each in losses.values()) / len(losses)
    # Units are independent of each other, and so must be their draws.
    draws = sum(draws_of(each, seed) for seed, each in enumerate(losses.values())) / len(losses)
    lo, hi = ends_of(draws)
    return Span(value, min(lo, value), max(hi, value), "interval")
