"""What is around the panels of a chart of cells: title, marks, legend and caption."""

from collections.abc import Sequence
from typing import Any

import msgspec
from matplotlib.figure import Figure

from plots.canvas.caption import Bars, caption, marks_in_words
from plots.canvas.legend import mark_keys
from plots.canvas.panels import Panel, models_of
from plots.canvas.sheet import finish
from plots.canvas.theme import Theme
from profiler.records.cell_summary import CellSummary


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """The texts that are a chart's own."""

    title: str
    notes: str = ""  # how to read it
    bars: Bars = "interval"
    scales_differ: bool = False  # each model has a panel with a scale of its own
    handles: Sequence[Any] | None = None  # of the legend; None for levels, families and fillings by their marks


def frame(figure: Figure, theme: Theme, panel: Panel, cells: Sequence[CellSummary], own: Frame) -> None:
    """Put title, legend and caption around the panels; `cells` are those that are drawn, of the panel's."""
    notes = [own.notes] if own.notes else []
    if own.scales_differ and len(models_of(cells)) > 1:
        notes.append("Scales differ between models.")
    finish(
        figure,
        theme.style,
        title=own.title,
        subtitle=marks_in_words(cells),
        words=" ".join([*notes, caption(panel, cells, theme, own.bars)]),
        handles=mark_keys(cells, theme) if own.handles is None else own.handles,
    )
