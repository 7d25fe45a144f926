"""Where a figure's texts lie: none may cover another or leave the canvas; and no row of panels may be empty."""

from itertools import combinations

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

_DPI = 200
_SLACK_PX = 1.0  # boxes of characters are a little larger than their ink


def faults(figure: Figure) -> list[str]:
    """Name each text that leaves the canvas, each pair that overlaps (as matplotlib places them), and empty rows."""
    figure.set_dpi(_DPI)
    figure.canvas.draw()
    boxes = [(text.get_text(), _shrunk(Text.get_window_extent(text))) for text in _texts(figure)]
    canvas = figure.bbox
    found = [
        f"'{_short(text)}' leaves the canvas"
        for text, box in boxes
        if box.x0 < canvas.x0 - 1 or box.y0 < canvas.y0 - 1 or box.x1 > canvas.x1 + 1 or box.y1 > canvas.y1 + 1
    ]
    return found + [
        f"'{_short(one)}' covers '{_short(other)}'"
        for (one, first), (other, second) in combinations(boxes, 2)
        if first.overlaps(second)
    ] + _empty_rows(figure)  # fmt: skip


def _empty_rows(figure: Figure) -> list[str]:
    rows: dict[int, bool] = {}
    for axes in figure.axes:
        if spec := axes.get_subplotspec():
            row = spec.rowspan.start
            rows[row] = rows.get(row, False) or axes.get_visible()
    return [f"row {row + 1} of the panels is empty" for row, is_used in sorted(rows.items()) if not is_used]


def _texts(figure: Figure) -> list[Text]:
    """Return all visible texts; of ticks, those within their axis."""
    ticks: set[int] = set()
    seen: set[int] = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for labels, places in ((axis.get_majorticklabels(), axis.get_majorticklocs()),
                                   (axis.get_minorticklabels(), axis.get_minorticklocs())):  # fmt: skip
                ticks |= {id(label) for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
                          for label in (tick.label1, tick.label2)}  # fmt: skip
                if axes.get_visible():
                    seen |= {id(label) for label, place in zip(labels, places, strict=False) if low <= place <= high}
    hidden = {id(text) for axes in figure.axes if not axes.get_visible() for text in axes.findobj(Text)}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible()
        and text.get_text().strip()
        and id(text) not in hidden
        and (id(text) not in ticks or id(text) in seen)
    ]


def _shrunk(box: Bbox) -> Bbox:
    return Bbox.from_extents(box.x0 + _SLACK_PX, box.y0 + _SLACK_PX, box.x1 - _SLACK_PX, box.y1 - _SLACK_PX)


def _short(text: str) -> str:
    return text.replace("\n", " ")[:40]
