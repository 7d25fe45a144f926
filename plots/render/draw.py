"""All charts of some results into one folder, and next to each a CSV file of the figures that are in it."""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import msgspec
from matplotlib.figure import Figure

from plots.canvas.chart_input import ChartInput, Picture, csv_of
from plots.canvas.panels import Panel, pages, panels, stem_of
from plots.canvas.style import FORMATS, Style, drawing, find_style, fitted, looks, markers_of
from plots.canvas.theme import Theme
from plots.charts import accuracy, memory, threads, tradeoff
from plots.charts.accuracy import accuracy_chart
from plots.charts.depth import depth_charts
from plots.charts.devices import device_charts, facet_charts
from plots.charts.drift import drift_charts
from plots.charts.intervals import interval_charts
from plots.charts.latency import active_latency_chart, has_experts, latency_chart
from plots.charts.memory import memory_chart
from plots.charts.operators import operator_charts
from plots.charts.pareto import pareto_chart
from plots.charts.published import load_published
from plots.charts.published_levels import published_levels_chart
from plots.charts.race import race_chart
from plots.charts.roofline import roofline_charts
from plots.charts.size import size_chart
from plots.charts.sustained import sustained_charts
from plots.charts.threads import threads_chart
from plots.charts.tradeoff import tradeoff_chart
from profiler.pick.session import Pick
from quant.base.errors import UserError
from quant.base.files import atomic_path, write_text

PanelChart = Callable[[Panel, Theme], Picture | str]
ResultsChart = Callable[[ChartInput, Theme], Iterator[tuple[str, Picture | str]]]
# Of one environment, one load and one setting.
CHARTS: dict[str, PanelChart] = {
    "latency-vs-parameters": latency_chart,
    "latency-vs-active-parameters": active_latency_chart,
    "speed-vs-threads": threads_chart,
    "memory-by-part": memory_chart,
    "decode-vs-size": size_chart,
    "level-tradeoff": tradeoff_chart,
    "accuracy": accuracy_chart,
    "pareto": pareto_chart,
    "published-levels": published_levels_chart,
}
# Of several of these, or of more than cells' figures; each yields what follows its name in the file's name.
RESULTS_CHARTS: dict[str, ResultsChart] = {
    "inter-token-latency": interval_charts,
    "speed-vs-depth": depth_charts,
    "roofline": roofline_charts,
    "drift": drift_charts,
    "sustained": sustained_charts,
    "device-comparison": device_charts,
    "device-facets": facet_charts,
    "operators": operator_charts,
}
NAMES = (*CHARTS, *RESULTS_CHARTS)
# Charts with a panel per model continue in a second figure where one is full.
_MODELS_PER_FIGURE: dict[str, Callable[[Panel, Style], int]] = {
    "speed-vs-threads": threads.models_per_figure,
    "memory-by-part": memory.models_per_figure,
    "level-tradeoff": tradeoff.models_per_figure,
    "accuracy": accuracy.models_per_figure,
}
_OVER_TIME = "sustained"  # the chart of sustained loads, which no other chart has
_OF_EXPERTS = "latency-vs-active-parameters"  # drawn unasked only where there are some
_PUBLISHED = "published-levels"  # drawn unasked only with --reference
_MOST_PAGES = 8  # of one chart: nobody looks at more, and the CSV files of results hold everything
# What a file says of itself must not change from run to run.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": "slmprof"},
    "svg": {"Date": None, "Creator": "slmprof"},
    "pdf": {"CreationDate": None, "Creator": "slmprof", "Producer": None},
}


class DrawOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which charts are drawn, and how."""

    formats: Sequence[str] = ("png",)
    style: str = "paper"
    columns: int | None = None  # 1 or 2 makes all charts as wide as one or two columns of a paper
    chosen: Collection[str] | None = None  # names of charts, instead of all
    reference: bool = False  # published results of other boards behind the latency chart, and a chart by level
    in_report: bool = False  # captions leave device, workload and rounds to the report, and no NAME.csv is written


DEFAULTS = DrawOptions()


def draw_all(
    inputs: ChartInput,
    out_dir: Path,
    options: DrawOptions = DEFAULTS,
    *,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Draw every chart that the results have figures for, and return the paths.

    NAME.csv next to each chart has the figures in it. At the end `say` gets one line with the charts that have no data,
    and why.

    Raises:
        UserError: a format, style or chart is unknown, nothing can be drawn, or the folder cannot be written.
    """
    if unknown := [each for each in options.formats if each not in FORMATS]:
        raise UserError(f"unknown format '{unknown[0]}'; choose from {', '.join(FORMATS)}")
    if unknown := [each for each in options.chosen or () if each not in NAMES]:
        raise UserError(f"there is no chart '{unknown[0]}'; choose from {', '.join(NAMES)}")
    style = fitted(find_style(options.style), options.columns)
    if not any(cell.status == "ok" or cell.rounds for cell in inputs.cells) and not inputs.operators:
        raise UserError("there is nothing to draw: no cell has figures; see slmprof show")
    theme = Theme(
        style=style,
        looks=looks(inputs.cells),
        markers=markers_of(cell.artifact.arch for cell in inputs.cells),
        environments=inputs.environments,
        in_report=options.in_report,
    )
    ordinary = msgspec.structs.replace(inputs, cells=[cell for cell in inputs.cells if not cell.config.sustain_s])
    job = DrawJob(inputs=inputs, ordinary=ordinary, theme=theme, out_dir=out_dir, options=options)
    paths: list[Path] = []
    missing: dict[tuple[str, str], list[str]] = {}
    for sheet in _sheets(ordinary, style, options):
        with drawing(style):
            for part, made in _made(job, sheet):
                if isinstance(made, str):
                    missing.setdefault((sheet.name, made), []).append(part)
                else:
                    paths += save_picture(out_dir, options, sheet.name, part, made)
    if missing:
        say(_missing_in_words(missing))
    if not paths:
        raise UserError("there is nothing to draw: no cell has figures for the charts asked for; see slmprof show")
    return paths


def draw_races(picks: Sequence[Pick], out_dir: Path, options: DrawOptions = DEFAULTS) -> list[Path]:
    """Draw the race of each pick into a folder, and return the paths."""
    style = fitted(find_style(options.style), options.columns)
    paths = []
    for number, pick in enumerate(picks, 1):
        with drawing(style):
            made = race_chart(pick, style)
            if not isinstance(made, str):
                paths += save_picture(out_dir, options, "race", str(number) if len(picks) > 1 else "", made)
    return paths


def _missing_in_words(missing: dict[tuple[str, str], list[str]]) -> str:
    """Return one line with the charts that have no data, each reason once."""
    charts: dict[str, list[str]] = {}
    for (name, reason), parts in missing.items():
        # A chart that has data for other workloads names those that it lacks.
        charts.setdefault(reason, []).append(f"{name} of {', '.join(parts)}" if all(parts) else name)
    return "charts not drawn: " + "; ".join(f"{', '.join(names)} ({reason})" for reason, names in charts.items())


class DrawJob(msgspec.Struct, frozen=True, kw_only=True):
    """What all sheets are drawn from."""

    inputs: ChartInput
    ordinary: ChartInput  # without sustained loads, which have a chart of their own
    theme: Theme
    out_dir: Path
    options: DrawOptions


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """One chart of a panel, or the charts of one kind of all results."""

    name: str
    part: str = ""
    panel: Panel | None = None
    reason: str | None = None  # why it is not drawn


def _sheets(inputs: ChartInput, style: Style, options: DrawOptions) -> Iterator[Sheet]:
    """Yield every requested chart, in the order in which people read them."""
    groups, chosen = panels(inputs.cells), options.chosen
    for panel in groups:
        unasked = {_OF_EXPERTS: has_experts(panel.cells), _PUBLISHED: options.reference}
        for name in CHARTS:
            if name in chosen if chosen is not None else unasked.get(name, True):
                yield from _pages_of(name, panel, stem_of(panel, groups), style)
    for name in RESULTS_CHARTS:
        if chosen is None or name in chosen:
            yield Sheet(name=name)


def _pages_of(name: str, panel: Panel, stem: str, style: Style) -> Iterator[Sheet]:
    most = _MODELS_PER_FIGURE.get(name)
    parts = list(pages(stem, panel, most(panel, style))) if most else [(stem, panel)]
    for part, page in parts[:_MOST_PAGES]:
        yield Sheet(name=name, part=part, panel=page)
    if parts[_MOST_PAGES:]:
        reason = f"{len(parts)} pages are too many, pass fewer models"
        yield Sheet(name=name, part=parts[_MOST_PAGES][0], reason=reason)


def _made(job: DrawJob, sheet: Sheet) -> Iterator[tuple[str, Picture | str]]:
    if sheet.reason is not None:
        yield sheet.part, sheet.reason
    elif sheet.panel is None:
        inputs = job.inputs if sheet.name == _OVER_TIME else job.ordinary
        yield from RESULTS_CHARTS[sheet.name](inputs, job.theme)
    else:
        chart = CHARTS[sheet.name]
        if job.options.reference and sheet.name == "latency-vs-parameters":
            chart = functools.partial(latency_chart, published=load_published())
        yield sheet.part, chart(sheet.panel, job.theme)


def save_picture(out_dir: Path, options: DrawOptions, name: str, part: str, picture: Picture) -> list[Path]:
    """Save a picture in every format, and its figures as a CSV file; return the picture's paths."""
    stem = f"{name}-{part}" if part else name
    try:
        paths = [_save(picture.figure, out_dir / f"{stem}.{form}", form) for form in options.formats]
        if not options.in_report:
            write_text(out_dir / f"{stem}.csv", csv_of(picture.rows))
    finally:
        plt.close(picture.figure)
    return paths


def _save(figure: Figure, path: Path, form: str) -> Path:
    with atomic_path(path) as part:
        figure.savefig(part, format=form, metadata=_METADATA[form])
    return path
