"""A figure with room for its title above, its legend and its caption below; nothing overlaps, nothing is cut off."""

from collections.abc import Sequence
from typing import Any, Literal

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullLocator

from plots.canvas.style import Style
from plots.canvas.text_width import shortened, width_in, wrapped

_LINE = 1.35  # of a line's height to its font size
_CAPTION_LINE = 1.25
_HANDLE = 2.2  # length of a legend's line, in font sizes
_GAP_IN = 0.08
_EDGE_IN = 0.06
# Steps of a logarithmic axis within a decade, the coarsest first.
_STEPS = ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
_MIN_TICKS = 4
_LOG_FROM = 8.0  # a ratio of values that a linear axis would squeeze


def sheet(style: Style, n_columns: int, n_rows: int = 1, *, panel: float | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels, row by row; `finish` sets its height when all words are known.

    Where the style has no room for so many side by side, they continue below.
    """
    if n_columns > style.most_columns:
        n_columns, n_rows = style.most_columns, -(-n_columns * n_rows // style.most_columns)
    width = style.column if n_columns == 1 else style.page
    height = min(style.panel * n_rows, style.tall) if panel is None else panel * n_rows
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(width, height), squeeze=False)
    return figure, [axis for row in axes for axis in row]


def grid(style: Style, n_panels: int, most_columns: int, *, panel: float | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of `n_panels` panels, row by row; what is left of the last row stays empty."""
    columns = min(most_columns, style.most_columns, n_panels)
    figure, axes = sheet(style, columns, -(-n_panels // columns), panel=panel)
    for axis in axes[n_panels:]:
        axis.set_visible(False)
    return figure, axes[:n_panels]


def panel_in(axis: Axes) -> float:
    """Return about how many inches of a panel's width its data has."""
    spec = axis.get_subplotspec()
    assert axis.figure is not None
    return float(axis.figure.bbox.width / axis.figure.dpi) / (spec.get_gridspec().ncols if spec else 1) * 0.8


def name_panel(axis: Axes, name: str, style: Style, *, room_in: float | None = None) -> None:
    """Write a name over a panel, shortened to its width or to `room_in`."""
    axis.set_title(shortened(name, 0.85 * panel_in(axis) if room_in is None else room_in, style.font), loc="left")


def rows_that_fit(style: Style, panel: float) -> int:
    """Return how many rows of panels, each at least `panel` inches high, a figure takes."""
    return max(1, int(style.tall / panel + 1e-9))


def finish(figure: Figure, style: Style, *, title: str, subtitle: str, words: str, handles: Sequence[Any]) -> None:
    """Put title, legend and caption around the panels and make the figure as high as they need."""
    width, panels_height = figure.get_size_inches()
    room = width - 2 * _EDGE_IN
    text = wrapped(words, room, style.caption)
    columns = _legend_columns(handles, room, style)
    legend_rows = -(-len(handles) // columns) if handles else 0
    line_in = style.font * _LINE / 72
    title_in = line_in * 1.15
    subtitle_in = line_in if subtitle else 0.0
    caption_in = (text.count("\n") + 1) * style.caption * _CAPTION_LINE / 72
    above = title_in + subtitle_in + _EDGE_IN
    below = caption_in + legend_rows * line_in + _EDGE_IN + 2 * _GAP_IN
    height = panels_height + above + below
    _lay_out(figure)
    _make_room(figure, below, above)
    left, top = _EDGE_IN / width, 1 - _EDGE_IN / height
    figure.text(left, top, title, ha="left", va="top", fontsize=style.font + 1, fontweight="bold")
    if subtitle:
        figure.text(
            left, top - title_in / height, subtitle, ha="left", va="top", fontsize=style.font - 1, color="#B00020"
        )
    figure.text(
        left, _EDGE_IN / height, text, ha="left", va="bottom", fontsize=style.caption, color="#333333", linespacing=1.2
    )
    if handles:
        figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, (caption_in + _EDGE_IN + _GAP_IN) / height),
            ncols=columns,
            columnspacing=1.2,
            handlelength=_HANDLE,
            handletextpad=0.5,
            borderaxespad=0,
            borderpad=0,
            labelspacing=0.25,
        )


def _lay_out(figure: Figure) -> None:
    """Place the panels, which fill the figure; repeat where that changes the ticks, whose numbers may be wider."""
    ticks: list[list[float]] = []
    for _ in range(3):
        before, ticks = ticks, [list(map(float, axis.get_yticks())) for axis in figure.axes]
        if before == ticks:
            break
        figure.tight_layout(pad=0.4, w_pad=1.0, h_pad=0.8)
    # The placeholder that matplotlib leaves otherwise makes each saving draw everything twice.
    figure.set_layout_engine(None)


def _make_room(figure: Figure, below: float, above: float) -> None:
    """Make a figure higher and keep its panels: laying them out in a part of it takes twice as long."""
    width, before = figure.get_size_inches()
    after, placed = below + before + above, figure.subplotpars
    figure.set_size_inches(width, after)
    figure.subplots_adjust(bottom=(below + placed.bottom * before) / after, top=(below + placed.top * before) / after)


def _legend_columns(handles: Sequence[Any], room: float, style: Style) -> int:
    if not handles:
        return 1
    longest = max(width_in(str(handle.get_label()), style.font - 1) for handle in handles)
    each = longest + (_HANDLE + 0.5 + 1.2) * (style.font - 1) / 72
    most = max(1, min(len(handles), int(room / each)))
    rows = -(-len(handles) // most)
    return -(-len(handles) // rows)


def plain(value: float, _: object = None) -> str:
    """Return a tick as people write numbers: 0.5, 20, 1500."""
    return f"{value:.10g}"


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Put plain numbers on a logarithmic axis: the coarsest steps with four ticks, all of them labelled."""
    axis.set_major_locator(MaxNLocator(5, min_n_ticks=3))
    for steps in _STEPS:
        locator = LogLocator(base=10, subs=steps, numticks=100)
        if sum(low <= tick <= high for tick in locator.tick_values(low, high)) >= _MIN_TICKS:
            axis.set_major_locator(locator)
            break
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_locator(NullLocator())


def log_axis(axis: Axes, along: Literal["x", "y"], low: float, high: float) -> None:
    """Make an axis logarithmic from `low` to `high`."""
    axis.set(**{f"{along}scale": "log", f"{along}lim": (low, high)})
    log_ticks(axis.xaxis if along == "x" else axis.yaxis, low, high)


def value_axis(axis: Axes, along: Literal["x", "y"], values: Sequence[float]) -> None:
    """Begin an axis at zero, or make it logarithmic where values are too far apart for that."""
    low, high = min(values), max(values)
    if low > 0 and high / low > _LOG_FROM:
        log_axis(axis, along, low / 1.3, high * 1.3)
    else:
        axis.set(**{f"{along}lim": (0, high * 1.18)})


def count_ticks(axis: Any, counts: Sequence[int], room_in: float, font_pt: float) -> None:
    """Put a tick at every count, and its number where numbers do not meet; powers of two come first."""
    scale = room_in / max(1, counts[-1] - counts[0])
    apart_in = (0.6 * len(str(counts[-1])) + 1.2) * font_pt / 72
    named: list[int] = []
    for count in sorted(counts, key=lambda count: (count & (count - 1) != 0, count)):
        if all(abs(count - other) * scale > apart_in for other in named):
            named.append(count)
    axis.set_major_locator(FixedLocator(counts))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value) if round(value) in named else ""))
