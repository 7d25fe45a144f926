"""What charts are made of and what they give: a picture, and the figures that are in it."""

import csv
import io
from collections.abc import Mapping, Sequence

import msgspec
from matplotlib.figure import Figure

from plots.canvas.panels import Point
from profiler.export.flat import csv_value
from profiler.operators.report import OperatorReport
from profiler.records.cell_summary import CellSummary
from profiler.records.record import AnchorRound, Environment, Round
from quant.gguf_io.artifact import Artifact

Row = dict[str, object]


class Picture(msgspec.Struct, frozen=True):
    """A chart, and a row for every mark in it."""

    figure: Figure
    rows: list[Row]


class Study(msgspec.Struct, frozen=True, kw_only=True):
    """All that was read: cells as charts name them, and the records that they come from."""

    cells: Sequence[CellSummary]
    environments: Mapping[str, Environment]
    artifacts: Mapping[str, Artifact] = {}
    rounds: Sequence[Round] = ()
    anchors: Sequence[AnchorRound] = ()
    operators: Sequence[OperatorReport] = ()


def row_of(cell: CellSummary, **figures: object) -> Row:
    """Begin a mark's row with what tells its cell from the others."""
    return {
        "model": cell.artifact.model,
        "arch": cell.artifact.arch,
        "weights": cell.artifact.weights,
        "standin_for": cell.artifact.standin_for,
        "standin_family": cell.artifact.standin_family,
        "kind": cell.kind,
        "n_params": cell.artifact.n_params,
        "quant": cell.artifact.level,
        "bpw": cell.artifact.bpw,
        "env_id": cell.env_id,
        "n_threads": cell.config.n_threads,
        "n_threads_batch": cell.config.n_threads_batch,
        "rounds": cell.rounds,
        "cell_key": cell.cell_key,
        **figures,
    }


def ends(name: str, point: Point | None) -> Row:
    """Give a figure and the ends of its bar as three columns; empty where there is none."""
    middle, low, high = point or (None, None, None)
    return {name: middle, f"{name}_from": low, f"{name}_to": high}


def csv_of(rows: Sequence[Row]) -> str:
    """Write rows under all of their names, in the order in which these first come."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([csv_value(row.get(name)) for name in names] for row in rows)
    return text.getvalue()
