"""Decode by level and threads, beside what was published of the same models on another board.

The data is pi5_levels.csv next to this file: device, model, threads, level, tokens per second, bytes read per token and
of the file, energy, perplexity, and the source. Others measured it, not this program. Speed depends on the shape
alone, so a model of the same size and architecture is the same model here, whatever its weights.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import msgspec
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from plots.canvas.chart_input import Picture, Row, ends, row_of
from plots.canvas.figures import decode_tps, ends_of, flat
from plots.canvas.frame import Frame, frame
from plots.canvas.legend import filling_keys
from plots.canvas.panels import Panel
from plots.canvas.series import Mark, draw_levels
from plots.canvas.sheet import grid, log_axis, name_panel
from plots.canvas.style import Style
from plots.canvas.theme import Theme
from plots.charts.published import published_lines
from profiler.records.cell_summary import CellSummary
from quant.sources.registry import lookup

_GREY = "#8A8A8A"
_LANE_EM = 1.2  # height of a thread count's place in a level's row, in font sizes
_BELOW = 0.4  # of a lane: the published board's place under one's own
_GAP_LANES = 0.6  # between two rows
_NOTES = (
    "Numbers are threads, a level's fewest on top. The grey ones were published by others ({source}). Boards differ in "
    "speed: compare the order of levels, and what threads do to it."
)


class PublishedLevel(msgspec.Struct, frozen=True, kw_only=True):
    """Decode of one file with one number of threads."""

    device: str
    model: str
    level: str
    n_threads: int
    decode_tps: float
    source: str

    def row(self) -> Row:
        """Return its row for the chart's CSV file."""
        return {
            "model": self.model,
            "kind": "published",
            "quant": self.level,
            "n_threads": self.n_threads,
            "decode_tps": self.decode_tps,
            "device": self.device,
            "source": self.source,
        }


def load_levels() -> list[PublishedLevel]:
    """Read the published results."""
    return [
        PublishedLevel(
            device=line["device"],
            model=line["model"],
            level=line["level"],
            n_threads=int(line["threads"]),
            decode_tps=float(line["decode_tps"]),
            source=line["source"],
        )
        for line in published_lines("pi5_levels.csv")
    ]


def published_levels_chart(panel: Panel, theme: Theme) -> Picture | str:
    """Draw a panel for each published model that was measured or estimated here, or return why there is none."""
    published = load_levels()
    models = list(dict.fromkeys(each.model for each in published))
    own = {model: [cell for cell in panel.cells if decode_tps(cell) and _same_shape(cell, model)] for model in models}
    shown = [model for model in models if own[model]]
    if not shown:
        return f"none of the models that are published by level: {', '.join(models)}"
    layers = {model: _Layer.of([each for each in published if each.model == model], own[model]) for model in shown}
    lanes = max(len(layer.levels) * layer.pitch for layer in layers.values())
    height = (_LANE_EM * lanes + 3.5) * theme.style.font / 72
    figure, axes = grid(theme.style, len(shown), 2, panel=height)
    rows: list[Row] = []
    drawn: list[CellSummary] = []
    for axis, (model, layer) in zip(axes, layers.items(), strict=True):
        cells = [cell for cell in own[model] if cell.artifact.level in layer.levels]
        _draw(axis, layer, cells, theme)
        name_panel(axis, model, theme.style)
        rows += [row_of(cell, **ends("decode_tps", decode_tps(cell))) for cell in cells]
        rows += [each.row() for each in layer.published]
        drawn += cells
    first = published[0]
    words = Frame(
        title="Levels beside a published board",
        notes=_NOTES.format(source=first.source),
        handles=[Line2D([], [], color=_GREY, lw=0.5 * theme.style.line, label=first.device), *filling_keys(drawn)],
    )
    frame(figure, theme, panel, drawn, words)
    return Picture(figure, rows)


class _Layer(msgspec.Struct, frozen=True, kw_only=True):
    """One model's published results, and where levels and thread counts have their places."""

    published: Sequence[PublishedLevel]
    levels: Sequence[str]  # the fastest on top
    counts: Sequence[int]  # of threads, published or one's own

    @classmethod
    def of(cls, published: Sequence[PublishedLevel], own: Iterable[CellSummary]) -> "_Layer":
        best: dict[str, float] = {}
        for each in published:
            best[each.level] = max(each.decode_tps, best.get(each.level, 0.0))
        counts = {each.n_threads for each in published} | {cell.config.n_threads for cell in own}
        return cls(published=published, levels=sorted(best, key=lambda level: -best[level]), counts=sorted(counts))

    @property
    def pitch(self) -> float:
        """From one level's row to the next, in lanes."""
        return len(self.counts) + _GAP_LANES

    def y(self, level: str, n_threads: int) -> float:
        """Return the place of a level with a number of threads, in lanes from the top."""
        return self.levels.index(level) * self.pitch + self.counts.index(n_threads)

    def centres(self) -> Mapping[str, float]:
        """Return the middle of each level's row."""
        return {level: place * self.pitch + (len(self.counts) - 1) / 2 for place, level in enumerate(self.levels)}


def _draw(axis: Axes, layer: _Layer, cells: Sequence[CellSummary], theme: Theme) -> None:
    style = theme.style
    for level in layer.levels:
        line = [each for each in layer.published if each.level == level]
        places = [(each.decode_tps, layer.y(level, each.n_threads) + _BELOW) for each in line]
        axis.plot(*zip(*places, strict=True), color=_GREY, lw=0.5 * style.line, marker="", alpha=0.6, zorder=1)
        for (x, y), each in zip(places, line, strict=True):
            _number(axis, x, y, each.n_threads, _GREY, style)
    marks = [
        Mark(cell, point.value, flat(layer.y(cell.artifact.level, cell.config.n_threads)), point)
        for cell in cells
        if (point := decode_tps(cell))
    ]
    draw_levels(axis, marks, theme)
    for mark in marks:
        if mark.across is not None:
            _number(axis, mark.across.hi, mark.point.value, mark.cell.config.n_threads, "#333333", style, beside=True)
    seen = [*ends_of(mark.across for mark in marks if mark.across), *(each.decode_tps for each in layer.published)]
    log_axis(axis, "x", min(seen) / 1.2, max(seen) * 1.3)
    centres = layer.centres()
    axis.set_yticks(list(centres.values()), list(centres))
    axis.set_ylim(len(layer.levels) * layer.pitch, -1.0)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("decode, tokens/s")


def _number(axis: Axes, x: float, y: float, count: int, colour: str, style: Style, *, beside: bool = False) -> None:
    """Write a thread count at a place, or right of it."""
    axis.annotate(
        str(count),
        (x, y),
        xytext=(0.35 * style.font if beside else 0.0, 0.0),
        textcoords="offset points",
        ha="left" if beside else "center",
        va="center",
        fontsize=style.font - 1.5,
        color=colour,
        bbox=None if beside else {"facecolor": "white", "edgecolor": "none", "pad": 0.4},
        zorder=1.5,
    )


def _same_shape(cell: CellSummary, model: str) -> bool:
    """Return whether a cell's model has the architecture and the size of a published one."""
    spec = lookup(model)
    return spec is not None and spec.family == cell.artifact.arch and _size(cell) == spec.n_params


def _size(cell: CellSummary) -> int:
    """Return the unique parameters: the registry's, since a file may hold a tied output matrix twice."""
    return _known_size(cell.artifact.model) or cell.artifact.n_params


@cache
def _known_size(model: str) -> int | None:
    spec = lookup(model)
    return spec.n_params if spec else None
