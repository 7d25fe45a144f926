"""A figure with room for its title above, its legend and its caption below; nothing overlaps, nothing is cut off."""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from plots.caption import wrapped
from plots.style import Style

_LINE = 1.35  # of a line's height to its letters
_GAP_IN = 0.08


def sheet(style: Style, n_columns: int, n_rows: int = 1, *, width: float | None = None) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels; `finish` sets its height when all words are known."""
    width = width or (style.column if n_columns == 1 else style.page)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(width, style.panel * n_rows), squeeze=False)
    return figure, [axis for row in axes for axis in row]


def finish(figure: Figure, style: Style, *, title: str, subtitle: str, words: str, handles: Sequence[Any]) -> None:
    """Put title, legend and caption around the panels and make the figure as high as they need."""
    width, panels_height = figure.get_size_inches()
    text = wrapped(words, width - 0.15, style.caption)
    subtitle = wrapped(subtitle, width - 0.15, style.font - 1) if subtitle else ""
    title = wrapped(title, width - 0.15, style.font + 1)
    line_in = style.font * _LINE / 72
    caption_in = (text.count("\n") + 1) * style.caption * _LINE / 72
    columns = _legend_columns(handles, width, style)
    legend_rows = -(-len(handles) // columns) if handles else 0
    legend_in = legend_rows * line_in
    title_in = (title.count("\n") + 1) * (style.font + 1) * _LINE / 72
    subtitle_in = (subtitle.count("\n") + 1) * line_in if subtitle else 0.0
    above, below = title_in + subtitle_in + _GAP_IN, caption_in + legend_in + 2 * _GAP_IN
    height = panels_height + above + below
    figure.set_size_inches(width, height)
    left = 0.06 / width
    figure.text(left, 1 - 0.03 / height, title, ha="left", va="top", fontsize=style.font + 1, fontweight="bold")
    if subtitle:
        place = 1 - (title_in + 0.03) / height
        figure.text(left, place, subtitle, ha="left", va="top", fontsize=style.font - 1, color="#B00020")
    figure.text(
        left, 0.03 / height, text, ha="left", va="bottom", fontsize=style.caption, color="#444444", linespacing=1.2
    )
    figure.tight_layout(rect=(0, below / height, 1, 1 - above / height), pad=0.4, w_pad=1.0, h_pad=0.8)
    if handles:
        figure.legend(
            handles=list(handles),
            loc="lower center",
            bbox_to_anchor=(0.5, (caption_in + _GAP_IN) / height),
            ncols=columns,
            columnspacing=1.2,
            handletextpad=0.5,
            borderaxespad=0,
            labelspacing=0.25,
        )


def _legend_columns(handles: Sequence[Any], width: float, style: Style) -> int:
    if not handles:
        return 1
    longest = max(len(str(handle.get_label())) for handle in handles)
    each_in = (longest + 6) * 0.58 * style.font / 72
    return max(1, min(len(handles), int((width - 0.1) / each_in)))


def plain(value: float, _: object = None) -> str:
    """Write a tick as people write numbers: 0.5, 20, 1500."""
    return f"{value:.10g}"


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Put plain numbers on a logarithmic axis, enough of them for its span and no more than can be read."""
    span = high / low if low > 0 else 10
    if span < 6:
        axis.set_major_locator(MaxNLocator(5))
    else:
        steps = (1.0, 2.0, 5.0) if span < 60 else (1.0, 3.0) if span < 600 else (1.0,)
        axis.set_major_locator(LogLocator(base=10, subs=steps))
    axis.set_major_formatter(FuncFormatter(plain))
    axis.set_minor_locator(NullLocator())


def error_bars(points: Sequence[tuple[float, float, float]]) -> list[list[float]]:
    """Turn (middle, low, high) into matplotlib's lengths below and above."""
    return [[max(0.0, mid - low) for mid, low, _ in points], [max(0.0, high - mid) for mid, _, high in points]]
