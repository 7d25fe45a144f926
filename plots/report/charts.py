"""Charts as SVG inside the page: their text stays text, and lies on white whatever the page's colours.

A level has one colour everywhere, chosen for a white ground; the darkest would not be seen on a dark one.
"""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from plots.fullest import FEW, MANY_CELLS, SOME, fullest, narrowed
from profiler.results import Results
from profiler.summary import CellSummary
from quant.errors import UserError

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_WIDE_PT = 500.0
_DROPPED = ("metadata", "style")


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: its name, everything that its title and caption say, and the element itself."""

    name: str
    words: str
    svg: str
    wide: bool


def charts_of(summaries: Sequence[CellSummary], results: Results) -> tuple[list[Chart], str | None]:
    """Draw the charts, and say which are left out."""
    from plots.draw import draw_all

    many = len(summaries) > MANY_CELLS
    chosen, left = fullest(summaries, FEW if many else SOME)
    if left:
        left += f"; slmprof plot{' --all' if many else ''} draws all."
    if not any(cell.rounds for cell in chosen):
        return [], "There are no charts: no cell has figures."
    with tempfile.TemporaryDirectory() as folder:
        try:
            paths = draw_all(
                chosen,
                results.environments,
                Path(folder),
                formats=("svg",),
                style="web",
                results=narrowed(results, chosen),
            )
        except UserError as error:
            return [], f"There are no charts: {error}."
        charts = [
            inlined(path.read_text(encoding="utf-8"), path.stem, f"chart{number}-")
            for number, path in enumerate((path for path in paths if path.suffix == ".svg"), 1)
        ]
    return charts, left


def inlined(document: str, name: str, prefix: str) -> Chart:
    """Turn an SVG document of our own drawing into an element of a page that holds several.

    Ids get a prefix, so that no two charts share one.
    """
    root = ElementTree.fromstring(document)  # noqa: S314  drawn a moment ago by matplotlib, not read from a stranger
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
    """Give the texts that belong to the figure and to no axis: title, marks, caption."""
    figure = root.find(f"./g[@id='{prefix}figure_1']")
    groups = [] if figure is None else [each for each in figure if each.get("id", "").startswith(f"{prefix}text_")]
    return [" ".join(" ".join(text.itertext()).split()) for group in groups for text in group.iter("text")]
