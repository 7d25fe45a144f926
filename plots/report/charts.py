"""Charts as SVG inside the page: their text stays text, on white whatever the page's colours.

A level has one colour everywhere, chosen for a white ground; the darkest would not be seen on a dark one.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from plots.canvas.chart_input import chart_input
from plots.render.sampling import restricted, sampled
from profiler.records.cell_summary import CellSummary
from profiler.results.file import Results
from quant.base.errors import UserError

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_WIDE_PT = 500.0
_DROPPED = ("metadata", "style")


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: its name, the text of its title and caption, and the element itself."""

    name: str
    words: str
    svg: str
    wide: bool


class Charts(msgspec.Struct, frozen=True, kw_only=True):
    """The charts of a report, which cells they are of, and what they omit."""

    charts: list[Chart] = []
    cells: Sequence[CellSummary] = ()
    note: str | None = None


def charts_of(results: Results, summaries: Sequence[CellSummary]) -> Charts:
    """Draw the charts of the cells, or of a sample where there are more than anyone looks at."""
    from plots.render.draw import DrawOptions, draw_all

    cells, omitted = sampled(summaries)
    if not any(cell.rounds for cell in cells):
        return Charts(cells=cells, note="There are no charts: no cell has figures.")
    options = DrawOptions(formats=("svg",), style="web", in_report=True)
    with tempfile.TemporaryDirectory() as folder:
        try:
            paths = draw_all(chart_input(cells, restricted(results, cells)), Path(folder), options)
        except UserError as error:
            return Charts(cells=cells, note=f"There are no charts: {error}.")
        charts = [
            inlined(path.read_text(encoding="utf-8"), path.stem, f"chart{number}-")
            for number, path in enumerate(paths, 1)
        ]
    return Charts(charts=charts, cells=cells, note=f"{omitted}; slmprof plot --all draws all." if omitted else None)


def inlined(document: str, name: str, prefix: str) -> Chart:
    """Turn an SVG document of our own into an element of a page that holds several; ids get a prefix to stay unique."""
    root = ElementTree.fromstring(document)  # noqa: S314  drawn a moment ago by matplotlib, not untrusted
    for element in root.iter():
        for child in [child for child in element if _local(child.tag) in _DROPPED]:
            element.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(key): _rewritten(_local(key), value, prefix) for key, value in element.items()}
        if element.tag not in ("text", "tspan"):
            element.text = None
        element.tail = None
    wide = float(root.get("width", "0").removesuffix("pt")) > _WIDE_PT
    words = " ".join(dict.fromkeys(_sheet_words(root, prefix)))
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.attrib |= {"role": "img", "aria-label": words or name}
    return Chart(name=name, words=words, svg=ElementTree.tostring(root, encoding="unicode"), wide=wide)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _rewritten(key: str, value: str, prefix: str) -> str:
    if key == "id":
        return prefix + value
    if key == "href":
        return f"#{prefix}{value.removeprefix('#')}"
    if key == "d":
        return " ".join(value.split())
    return _REFERENCE.sub(rf"url(#{prefix}\1)", value)


def _sheet_words(root: ElementTree.Element, prefix: str) -> list[str]:
    """Return the texts that belong to the figure and to no axis: title, marks, caption."""
    figure = root.find(f"./g[@id='{prefix}figure_1']")
    groups = [] if figure is None else [each for each in figure if each.get("id", "").startswith(f"{prefix}text_")]
    return [" ".join(" ".join(text.itertext()).split()) for group in groups for text in group.iter("text")]
