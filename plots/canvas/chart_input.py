"""What charts are made from and what they return: a picture, and the figures that are in it."""

import csv
import io
from collections.abc import Mapping, Sequence

import msgspec
from matplotlib.figure import Figure

from plots.canvas.panels import distinct
from profiler.export.flat import csv_value
from profiler.operators.report import OperatorReport
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from profiler.records.round import AnchorRound, Round
from profiler.records.span import Span
from profiler.results.file import Results
from quant.gguf_io.artifact import Artifact

Row = dict[str, object]


class Picture(msgspec.Struct, frozen=True):
    """A chart, and a row for every mark in it."""

    figure: Figure
    rows: list[Row]


class ChartInput(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was read: cells as charts name them, and the records that they come from."""

    cells: Sequence[CellSummary]
    environments: Mapping[str, Environment]
    artifacts: Mapping[str, Artifact] = {}
    rounds: Sequence[Round] = ()
    anchors: Sequence[AnchorRound] = ()
    operators: Sequence[OperatorReport] = ()


def chart_input(
    summaries: Sequence[CellSummary],
    results: Results,
    operators: Sequence[OperatorReport] = (),
    estimates: Sequence[CellSummary] = (),
) -> ChartInput:
    """Return what charts of these results are made from.

    Args:
        operators: reports of `slmprof operators --json`.
        estimates: what `slmprof estimate --json` printed.
    """
    return ChartInput(
        # Apart: a file and the estimate of it have one name.
        cells=[*distinct(summaries), *distinct(estimates)],
        environments=results.environments,
        artifacts=results.artifacts,
        rounds=results.rounds,
        anchors=results.anchors,
        operators=operators,
    )


def row_of(cell: CellSummary, **figures: object) -> Row:
    """Begin a mark's row with what identifies its cell."""
    return {
        "model": cell.artifact.model,
        "arch": cell.artifact.arch,
        "weights": cell.artifact.weights,
        "standin_for": cell.artifact.standin_for,
        "standin_family": cell.artifact.standin_family,
        "kind": cell.kind,
        "n_params": cell.artifact.n_params,
        "n_params_active": cell.artifact.n_params_active,
        "quant": cell.artifact.level,
        "bpw": cell.artifact.bpw,
        "env_id": cell.env_id,
        "n_threads": cell.config.n_threads,
        "n_threads_batch": cell.config.n_threads_batch,
        "rounds": cell.rounds,
        "cell_key": cell.cell_key,
        **figures,
    }


def ends(name: str, figure: Span | None) -> Row:
    """Return a figure and the ends of its bar as three columns; empty where there is none."""
    middle, low, high = (figure.value, figure.lo, figure.hi) if figure else (None, None, None)
    return {name: middle, f"{name}_from": low, f"{name}_to": high}


def csv_of(rows: Sequence[Row]) -> str:
    """Write rows under all of their names, in the order in which these first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_value(row.get(name)) for name in names] for row in rows)
    return text.getvalue()
