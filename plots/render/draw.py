"""All charts of some results into one folder, and beside each the figures that are in it."""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import ParamSpec

import matplotlib.pyplot as plt
import msgspec
from matplotlib.figure import Figure

from plots.canvas.chart_input import Picture, Study, csv_of
from plots.canvas.panels import Panel, distinct, pages, panels
from plots.canvas.style import FORMATS, Look, Style, drawing, find_style, fitted, looks
from plots.charts import memory, threads
from plots.charts.depth import depth_charts
from plots.charts.devices import device_charts, facet_charts
from plots.charts.drift import drift_charts
from plots.charts.intervals import interval_charts
from plots.charts.latency import latency_chart
from plots.charts.memory import memory_chart
from plots.charts.operators import operator_charts
from plots.charts.pareto import pareto_chart
from plots.charts.published import load_published
from plots.charts.roofline import roofline_charts
from plots.charts.size import size_chart
from plots.charts.threads import threads_chart
from plots.charts.tradeoff import models_per_figure as tradeoffs_per_figure
from plots.charts.tradeoff import tradeoff_chart
from plots.render.parallel import sheets_begun
from profiler.operators.report import OperatorReport
from profiler.records.cell_summary import CellSummary
from profiler.records.record import Environment
from profiler.results.file import Results
from quant.base.errors import UserError
from quant.base.files import atomic_path, write_text

P = ParamSpec("P")
PanelChart = Callable[[Panel, Environment | None, Style, Mapping[str, Look]], Picture | str]
StudyChart = Callable[[Study, Style, Mapping[str, Look]], Iterator[tuple[str, Picture | str]]]
# Of one environment, one load and one setting.
CHARTS: dict[str, PanelChart] = {
    "latency-vs-parameters": latency_chart,
    "speed-vs-threads": threads_chart,
    "memory-by-part": memory_chart,
    "decode-vs-size": size_chart,
    "level-tradeoff": tradeoff_chart,
    "pareto": pareto_chart,
}
# Of several of these, or of more than cells' figures; each gives what follows its name in the file's name.
STUDY_CHARTS: dict[str, StudyChart] = {
    "inter-token-latency": interval_charts,
    "speed-vs-depth": depth_charts,
    "roofline": roofline_charts,
    "drift": drift_charts,
    "device-comparison": device_charts,
    "device-facets": facet_charts,
    "operators": operator_charts,
}
NAMES = (*CHARTS, *STUDY_CHARTS)
# Charts with a panel per model go on in a second figure where one is full.
_MODELS_PER_FIGURE: dict[str, Callable[[Panel, Style], int]] = {
    "speed-vs-threads": threads.models_per_figure,
    "memory-by-part": memory.models_per_figure,
    "level-tradeoff": tradeoffs_per_figure,
}
_MOST_PAGES = 8  # of one chart: nobody looks at more, and the CSV files of results hold everything
# What a file says of itself must not change from run to run.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "slmprof"},
    "svg": {"Date": None, "Creator": "slmprof"},
    "pdf": {"CreationDate": None, "Creator": "slmprof", "Producer": None},
}


@contextmanager
def charts_begun(
    summaries: Sequence[CellSummary],
    environments: Mapping[str, Environment],
    out_dir: Path,
    *,
    formats: Sequence[str] = ("png",),
    style: str = "paper",
    say: Callable[[str], None] = lambda line: None,
    results: Results | None = None,
    operators: Sequence[OperatorReport] = (),
    chosen: Collection[str] | None = None,
    columns: int | None = None,
    reference: bool = False,
    with_rows: bool = True,
) -> Iterator[Iterator[Path]]:
    """Begin to draw every chart that the results have figures for; give the paths as they come.

    Why another is left out is said at the end. Beside each chart stands NAME.csv with the figures in it.

    Args:
        results: the records behind the summaries, for the charts that need more than these.
        operators: what `slmprof operators --json` wrote.
        chosen: names of charts, instead of all.
        columns: 1 or 2 makes all charts as wide as one or two columns of a paper.
        reference: whether published results of other boards stand behind the latency chart.
        with_rows: whether NAME.csv is written too.

    Raises:
        UserError: a format, style or chart is unknown or nothing can be drawn; when the paths are asked for, also that
            the folder cannot be written.
    """
    if unknown := [each for each in formats if each not in FORMATS]:
        raise UserError(f"unknown format '{unknown[0]}'; choose from {', '.join(FORMATS)}")
    if unknown := [each for each in chosen or () if each not in NAMES]:
        raise UserError(f"there is no chart '{unknown[0]}'; choose from {', '.join(NAMES)}")
    look = fitted(find_style(style), columns)
    shown = distinct(summaries)
    study = Study(
        cells=shown,
        environments=environments,
        artifacts=results.artifacts if results else {},
        rounds=results.rounds if results else (),
        anchors=results.anchors if results else (),
        operators=operators,
    )
    if not any(cell.status == "ok" or cell.rounds for cell in shown) and not operators:
        raise UserError("there is nothing to draw: no cell has figures; see slmprof show")
    board = Board(
        study=study,
        style=look,
        looks=looks(study.cells),
        out_dir=out_dir,
        formats=tuple(formats),
        reference=reference,
        with_rows=with_rows,
    )
    sheets = list(_sheets(study, look, chosen))
    n_pictures = sum(each.panel is not None for each in sheets)
    with sheets_begun(_draw, board, sheets, n_pictures=n_pictures) as drawn:
        yield _paths_of(drawn, say)


def _at_once(begun: Callable[P, AbstractContextManager[Iterator[Path]]]) -> Callable[P, list[Path]]:
    @functools.wraps(begun)
    def drawn(*args: P.args, **options: P.kwargs) -> list[Path]:
        with begun(*args, **options) as paths:
            return list(paths)

    return drawn


draw_all = _at_once(charts_begun)


def _paths_of(sheets: Iterator["Drawn"], say: Callable[[str], None]) -> Iterator[Path]:
    n_paths = 0
    missing: dict[tuple[str, str], list[str]] = {}
    for name, part, made in (each for drawn in sheets for each in drawn):
        if isinstance(made, str):
            missing.setdefault((name, made), []).append(part)
        else:
            n_paths += len(made)
            yield from made
    # Parts are named only where none was drawn: that other loads or devices lack a chart helps nobody.
    named = [
        f"{name} of {', '.join(parts)} ({reason})" if all(parts) else f"{name} ({reason})"
        for (name, reason), parts in missing.items()
    ]
    if named:
        say(f"charts not drawn: {'; '.join(named)}")
    if not n_paths:
        raise UserError("there is nothing to draw: no cell has figures for the charts asked for; see slmprof show")


class Board(msgspec.Struct, frozen=True, kw_only=True):
    """What all sheets are drawn from."""

    study: Study
    style: Style
    looks: Mapping[str, Look]
    out_dir: Path
    formats: tuple[str, ...]
    reference: bool
    with_rows: bool


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """One chart of a panel, or the charts of one kind of the whole study."""

    name: str
    part: str = ""
    panel: Panel | None = None
    reason: str | None = None  # why it is not drawn


Drawn = list[tuple[str, str, list[Path] | str]]  # name, part, the files or why there are none


def _sheets(study: Study, style: Style, chosen: Collection[str] | None) -> Iterator[Sheet]:
    """Give every chart asked for, in the order in which people read them."""
    groups = panels(study.cells)
    several = len({panel.env_id for panel in groups}) > 1
    for panel in groups:
        for name in CHARTS:
            if chosen is not None and name not in chosen:
                continue
            most = _MODELS_PER_FIGURE.get(name)
            parts = list(pages(panel, most(panel, style)) if most else [panel])
            stem = panel.load + (f"-{panel.env_id}" if several else "")
            for number, page in enumerate(parts[:_MOST_PAGES], 1):
                yield Sheet(name=name, part=stem if number == 1 else f"{stem}-page{number}", panel=page)
            if parts[_MOST_PAGES:]:
                reason = f"{len(parts)} pages are too many; give fewer models"
                yield Sheet(name=name, part=f"{panel.load}-page{_MOST_PAGES + 1}", reason=reason)
    for name in STUDY_CHARTS:
        if chosen is None or name in chosen:
            yield Sheet(name=name)


def _draw(board: Board, sheet: Sheet) -> Drawn:
    """Draw and save what a sheet asks for."""
    drawn: Drawn = []
    with drawing(board.style):
        for part, made in _made(board, sheet):
            drawn.append((sheet.name, part, made if isinstance(made, str) else _saved(board, sheet.name, part, made)))
    return drawn


def _made(board: Board, sheet: Sheet) -> Iterator[tuple[str, Picture | str]]:
    study, panel = board.study, sheet.panel
    if sheet.reason is not None:
        yield sheet.part, sheet.reason
    elif panel is None:
        yield from STUDY_CHARTS[sheet.name](study, board.style, board.looks)
    else:
        chart = CHARTS[sheet.name]
        if board.reference and sheet.name == "latency-vs-parameters":
            chart = functools.partial(latency_chart, published=load_published())
        yield sheet.part, chart(panel, study.environments.get(panel.env_id), board.style, board.looks)


def _saved(board: Board, name: str, part: str, picture: Picture) -> list[Path]:
    stem = f"{name}-{part}" if part else name
    try:
        paths = [_save(picture.figure, board.out_dir / f"{stem}.{form}", form) for form in board.formats]
        if board.with_rows:
            write_text(board.out_dir / f"{stem}.csv", csv_of(picture.rows))
    finally:
        plt.close(picture.figure)
    return paths


def _save(figure: Figure, path: Path, form: str) -> Path:
    with atomic_path(path) as part:
        figure.savefig(part, format=form, metadata=_METADATA[form])
    return path
