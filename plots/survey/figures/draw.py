"""Draw the survey's figures: files for a folder, and pictures for the page."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from plots.canvas.chart_input import Picture
from plots.canvas.setting import device_in_words
from plots.canvas.style import Style, drawing, find_style
from plots.render.draw import DrawOptions, save_picture
from plots.report.charts import Chart, inlined
from plots.survey.figures.levels import levels_chart
from plots.survey.figures.memory import contexts_chart, parts_chart
from plots.survey.figures.models import models_chart
from plots.survey.figures.operators import operators_chart
from plots.survey.figures.sustained import sustained_chart
from plots.survey.plan import LEVEL
from plots.survey.records import Survey
from quant.base.text import counted


class ShownFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A figure of the survey: its picture, or why there is none."""

    title: str
    name: str  # of its files
    chart: Chart | None = None
    note: str = ""


FigureOf = Callable[[str, Style], Picture | str]


def figures_of(survey: Survey) -> list[tuple[str, str, FigureOf]]:
    """Return the title, the file's name and the drawing of each figure, in the survey's order."""
    return [
        ("Figure 7: latency and memory against parameters", "models", lambda w, s: models_chart(survey.points, w, s)),
        ("Figure 8: quantization levels", "levels", lambda w, s: levels_chart(survey.levels, w, s)),
        ("Figure 9: sustained inference", "sustained", lambda _, s: sustained_chart(survey.sustained, s)),
        ("Figure 10: operators", "operators", lambda w, s: operators_chart(survey.shares, w, s)),
        ("Figure 11: memory by part", "memory-by-part", lambda w, s: parts_chart(survey.points, w, s)),
        ("Figure 11: memory by context", "memory-by-context", lambda w, s: contexts_chart(survey.contexts, w, s)),
    ]


def draw_figures(survey: Survey, folder: Path) -> list[ShownFigure]:
    """Draw every figure that has data into a folder, as PNG, SVG and CSV files, and return all with their pictures."""
    style, options, shown = find_style("web"), DrawOptions(formats=("png", "svg")), []
    for number, (title, name, draw) in enumerate(figures_of(survey), 1):
        with drawing(style):
            made = draw(_setting(survey), style)
            if isinstance(made, str):
                shown.append(ShownFigure(title=title, name=name, note=f"Not drawn: {made}."))
                continue
            _, path = save_picture(folder, options, name, "", made)
        chart = inlined(path.read_text(encoding="utf-8"), name, f"figure{number}-")
        shown.append(ShownFigure(title=title, name=name, chart=chart))
    return shown


def _setting(survey: Survey) -> str:
    return (
        f"{LEVEL} where no level is named, 50 tokens in and 50 out, {counted(survey.n_threads, 'thread')}; "
        f"{device_in_words(survey.environment)}."
    )
