"""The tables of tasks: one per model and task, the most bits per weight first, and the mean over tasks."""

from collections.abc import Mapping, Sequence

import msgspec

from profiler.analysis.accuracy.figures import Question, accuracies, accuracy_of, question_of, reference_of, unit_of
from profiler.analysis.accuracy.paired import paired
from profiler.records.cell_summary import AccuracyFigures
from profiler.records.span import Span
from profiler.records.task import TaskRecord
from profiler.results.file import Results
from profiler.tables.format import aligned, clean, level_names
from quant.base.text import counted
from quant.gguf_io.artifact import Artifact

Rows = list[tuple[str, ...]]  # the first is the head

_DIFFERENCE = (
    "difference: from the unquantized file on the same items, in percentage points of the metric in the title, with a "
    "95 % interval (bootstrap over items)."
)
_WORSE = (
    "worse, better: items that only the unquantized file, or only this one, answers rightly; p-value: McNemar's exact "
    "test."
)


class TaskTable(msgspec.Struct, frozen=True):
    """A table with what stands around it."""

    title: str
    rows: Rows
    notes: tuple[str, ...] = ()


def tasks_table(results: Results) -> str:
    """Return the tables as text; empty where nothing was asked."""
    blocks = []
    for table in tables_of(results):
        lines = [f"## {table.title}", "", *(aligned(table.rows, last_left=False) if table.rows else [])]
        lines += ["", *(f"- {note}" for note in table.notes)] if table.notes and table.rows else []
        lines += [f"- {note}" for note in table.notes] if not table.rows else []
        blocks.append("\n".join([*lines, "", ""]))
    return "".join(blocks)


def tables_of(results: Results) -> list[TaskTable]:
    """Return the mean over tasks of each model, then each task, then what failed."""
    models: dict[str, list[TaskRecord]] = {}
    for record in results.tasks:
        models.setdefault(results.artifacts[record.artifact_sha256].model, []).append(record)
    figures = accuracies(results)
    return [table for model, records in models.items() for table in _tables(model, records, figures, results)]


def _tables(
    model: str, records: Sequence[TaskRecord], figures: Mapping[str, AccuracyFigures], results: Results
) -> list[TaskTable]:
    artifacts = {record.artifact_sha256: results.artifacts[record.artifact_sha256] for record in records}
    names = level_names(artifacts.values())
    questions: dict[Question, list[TaskRecord]] = {}
    for record in sorted(records, key=lambda each: _order(artifacts[each.artifact_sha256])):
        if record.status == "ok":
            questions.setdefault(question_of(record), []).append(record)
    reference = reference_of([each for each in records if accuracy_of(each) is not None], results).get(model)
    blocks: list[TaskTable] = []
    ordered = sorted(artifacts.values(), key=_order)
    units = {unit_of(record) for record in records if record.status == "ok"}
    if len(units) > 1 and any(each.sha256 in figures for each in ordered):
        blocks.append(_summary(model, ordered, names, figures))
    tables = [_table(model, group, names, artifacts, reference) for group in questions.values()]
    if any("p-value" in table.rows[0] for table in tables):
        tables[-1] = TaskTable(tables[-1].title, tables[-1].rows, (_DIFFERENCE, _WORSE))
    blocks += tables
    answered = {(record.artifact_sha256, record.task) for record in records if record.status == "ok"}
    failed = [
        f"{names[each.artifact_sha256]}, {clean(each.task)} {each.status}: {clean(each.error.message)}"
        for each in records
        if each.error is not None and (each.artifact_sha256, each.task) not in answered
    ]
    if failed:
        blocks.append(TaskTable(f"{clean(model)}, tasks without an answer", [], tuple(failed)))
    return blocks


def _order(artifact: Artifact) -> tuple[float, str, str]:
    return -artifact.bpw, artifact.level, artifact.sha256


def _summary(
    model: str, artifacts: Sequence[Artifact], names: Mapping[str, str], figures: Mapping[str, AccuracyFigures]
) -> TaskTable:
    rows: Rows = [("level", "bpw", "accuracy, %", "lost, points", "95 %")]
    tasks: tuple[str, ...] = ()
    for artifact in artifacts:
        found = figures.get(artifact.sha256)
        if found is None or found.mean is None:
            continue
        tasks = found.tasks
        accuracy = f"{100 * found.mean.value:.1f} ± {100 * found.mean.se:.1f}"
        lost = ("0", "") if found.is_reference else ("", "") if found.loss is None else _points(found.loss)
        rows.append((names[artifact.sha256], f"{artifact.bpw:.2f}", accuracy, *lost))
    note = (
        "lost accuracy: against the unquantized file on the same items, in percentage points, with a 95 % interval "
        "(bootstrap over items)."
    )
    return TaskTable(f"{clean(model)}, mean over {counted(len(tasks), 'task')}", rows, (note,))


def _points(span: Span) -> tuple[str, str]:
    """Return a share and its range in percentage points."""
    lo, hi = (f"{100 * end:+.1f}" for end in (span.lo, span.hi))
    return f"{100 * span.value:+.1f}", f"{lo} to {hi}"


def _table(
    model: str,
    records: Sequence[TaskRecord],
    names: Mapping[str, str],
    artifacts: Mapping[str, Artifact],
    reference: str | None,
) -> TaskTable:
    first = records[0]
    base = next((each for each in records if each.artifact_sha256 == reference), None)
    metrics = list(dict.fromkeys((each.name, each.filter) for record in records for each in record.metrics))
    with_filter = len({picked for _, picked in metrics}) > 1
    head = ["level", "bpw", *(f"{name} ({picked})" if with_filter else name for name, picked in metrics)]
    head += ["difference", "95 %", "worse", "better", "p-value"] if base is not None and len(records) > 1 else []
    rows: Rows = [tuple(map(clean, head))]
    for record in records:
        artifact = artifacts[record.artifact_sha256]
        row = [names[artifact.sha256], f"{artifact.bpw:.2f}"]
        known = {(each.name, each.filter): each for each in record.metrics}
        for key in metrics:
            found = known.get(key)
            se = f" ± {found.se:.4f}" if found is not None and found.se is not None else ""
            row.append(f"{found.value:.4f}{se}" if found is not None else "")
        against = paired(record, base) if base is not None and record is not base else None
        if against is not None:
            points, ends = _points(against.difference)
            row += [points, ends, str(against.n_worse), str(against.n_better), f"{against.p:.2g}"]
        rows.append((*row, *[""] * (len(head) - len(row))))
    shots = "no examples" if first.n_shots == 0 else counted(first.n_shots, "example")
    metric = f", {clean(first.items.metric)}" if first.items else ""
    title = f"{clean(model)}, {clean(first.task)}{metric}: {counted(first.n_items, 'item')}, {shots}"
    return TaskTable(title, rows)
