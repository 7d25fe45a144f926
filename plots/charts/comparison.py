"""The chart of a comparison: a row per cell, a dot and its interval per figure, a line at 1; and its CSV file."""

import csv
import io
from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator

from plots.canvas.sheet import finish, grid, plain
from plots.canvas.style import Style
from plots.canvas.text_width import printable, shortened
from profiler.compare.comparison import Change, Comparison, Pair, few_rounds
from profiler.compare.figures import FIGURES
from profiler.compare.text import describe_pair
from profiler.export.flat import csv_value

MOST_ROWS = 40  # on one figure; the table has them all
# Blue and vermilion of Okabe and Ito, "Color Universal Design": distinct for colour-blind eyes as well.
_BETTER, _WORSE, _NEITHER = "#0072B2", "#D55E00", "#777777"
_FEW = "#BBBBBB"
_NAME_SHARE = 0.42  # of a figure's width at most, for the cells' names
_COLUMNS = (
    "figure", "ratio", "lo", "hi", "range_lo", "range_hi", "p", "p_adjusted", "significant", "base", "new",
)  # fmt: skip


def compare_chart(comparison: Comparison, style: Style, labels: tuple[str, str]) -> Figure | str:
    """Draw the chart, or return why there is none."""
    shown = [figure for figure in FIGURES if any(_of(pair, figure.name) for pair in comparison.pairs)]
    pairs = [pair for pair in comparison.pairs if pair.changes]
    if not pairs:
        return "no matched cell has figures on both sides"
    rows = _worst_first(pairs)[:MOST_ROWS]
    row_in = style.font * 1.7 / 72
    n_columns = -(-len(shown) // -(-len(shown) // style.most_columns))  # as even rows of panels as there can be
    figure, axes = grid(style, len(shown), n_columns, panel=row_in * len(rows) + 4.2 * style.font / 72)
    wide = len(shown) > 1
    room = figure.get_figwidth() * (_NAME_SHARE if not wide else 0.3)
    for place, (axis, shape) in enumerate(zip(axes, shown, strict=True)):
        for row, pair in enumerate(rows):
            change = _of(pair, shape.name)
            if change is None:
                continue
            lo, hi = ends_of(change)
            colour = _colour(change)
            axis.plot([lo, hi], [row, row], color=colour, lw=style.line, marker="", ls="-" if change.lo else ":")
            flagged = bool(pair.base.flags or pair.new.flags)
            axis.plot([change.ratio], [row], color=colour, marker="o", ls="", mfc="white" if flagged else colour)
        axis.axvline(1, color="#000000", lw=0.7 * style.line, zorder=0)
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_yticks(range(len(rows)))
        names = [shortened(printable(describe_pair(pair, comparison.by)), room, style.font - 1) for pair in rows]
        axis.set_yticklabels(names if place % n_columns == 0 else [""] * len(rows))
        axis.grid(visible=False, axis="y")
        axis.margins(x=0.08)
        axis.xaxis.set_major_locator(MaxNLocator(3 if wide else 5, min_n_ticks=2))
        axis.xaxis.set_major_formatter(FuncFormatter(plain))
        axis.set_xlabel(f"{shape.title}, ratio")
    finish(
        figure,
        style,
        title="New to base",
        subtitle=_marks(rows),
        words=_words(comparison, rows, len(pairs), labels),
        handles=_handles(rows, style),
    )
    return figure


def compare_csv(comparison: Comparison) -> str:
    """Return every ratio that the chart draws, and those that it had no room for."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["base_cell_key", "new_cell_key", "cell", *_COLUMNS])
    for pair in comparison.pairs:
        for change in pair.changes:
            values = [change.new_min / change.base_max, change.new_max / change.base_min]
            fields = {"range_lo": values[0], "range_hi": values[1]}
            row = [fields.get(name, getattr(change, name, None)) for name in _COLUMNS]
            name = describe_pair(pair, comparison.by)
            writer.writerow([csv_value(value) for value in (pair.base.cell_key, pair.new.cell_key, name, *row)])
    return text.getvalue()


def ends_of(change: Change) -> tuple[float, float]:
    """Return the interval, or the range where there is none."""
    if change.lo is not None and change.hi is not None:
        return change.lo, change.hi
    return change.new_min / change.base_max, change.new_max / change.base_min


def _of(pair: Pair, name: str) -> Change | None:
    return next((change for change in pair.changes if change.figure == name), None)


def _worst_first(pairs: Sequence[Pair]) -> list[Pair]:
    """Keep the order of the file where all fit; else the largest significant changes come first."""
    if len(pairs) <= MOST_ROWS:
        return list(pairs)

    def weight(pair: Pair) -> tuple[bool, float]:
        return (
            any(change.significant for change in pair.changes),
            max(abs(change.percent) for change in pair.changes),
        )

    return sorted(pairs, key=weight, reverse=True)


def _colour(change: Change) -> str:
    if change.lo is None:
        return _FEW
    if not change.significant:
        return _NEITHER
    return _WORSE if change.loss_percent > 0 else _BETTER


def _marks(rows: Sequence[Pair]) -> str:
    cells = [cell for pair in rows for cell in (pair.base, pair.new)]
    synthetic = "SYNTHETIC WEIGHTS" if any(cell.weights != "real" for cell in cells) else ""
    standin = "STAND-IN" if any(cell.standin_family for cell in cells) else ""
    return ", ".join(each for each in (synthetic, standin) if each)


def _words(comparison: Comparison, rows: Sequence[Pair], n_pairs: int, labels: tuple[str, str]) -> str:
    words = f"Base: {printable(labels[0])}; new: {printable(labels[1])}. "
    differing = {each.field for pair in comparison.environments for each in pair.differences}
    words += f"Environments differ in {', '.join(sorted(differing))}. " if differing else "Same environment. "
    if any(not few_rounds(pair) for pair in rows):
        words += "Bars: 95 % interval by permutation of rounds; coloured where the adjusted p is at most 0.05. "
    if any(few_rounds(pair) for pair in rows):
        words += "Dotted: the range of any round to any other, under six rounds. "
    if any(pair.base.flags or pair.new.flags for pair in rows):
        words += "Hollow: disturbed while measured. "
    if n_pairs > len(rows):
        words += f"The {len(rows)} of {n_pairs} cells with the clearest changes. "
    return words


def _handles(rows: Sequence[Pair], style: Style) -> list[Line2D]:
    names = {_WORSE: "worse", _BETTER: "better", _NEITHER: "no difference shown", _FEW: "undecided"}
    seen = {_colour(change) for pair in rows for change in pair.changes}
    return [
        Line2D([], [], color=colour, marker="o", lw=style.line, ls=":" if colour == _FEW else "-", label=name)
        for colour, name in names.items()
        if colour in seen
    ]
