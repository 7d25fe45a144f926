"""Charts as SVG inside the page: their text stays text, on white whatever the page's colours.

A level has one colour everywhere, chosen for a white ground; the darkest would not be seen on a dark one.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from plots.canvas.chart_input import chart_input
from plots.render.sampling import SOME, fullest, narrowed, some_of
from profiler.analysis.summarise import summarise
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


@contextmanager
def charts_begun(results: Results) -> Iterator[Callable[[Sequence[CellSummary]], Charts]]:
    """Begin to draw where only some of very many cells are drawn: these are known before the others are summarised.

    Yields a function that takes the summaries of all cells and returns the charts.
    """
    with ExitStack() as stack:
        kept, subset = some_of(results)
        begun = stack.enter_context(_begun(summarise(kept), kept)) if subset else None

        def finish(summaries: Sequence[CellSummary]) -> Charts:
            if begun is not None:
                return begun(f"{subset}; slmprof plot --all draws all.")
            chosen, rest = fullest(summaries, SOME)
            with _begun(chosen, narrowed(results, chosen)) as drawn:
                return drawn(f"{rest}; slmprof plot draws all." if rest else None)

        yield finish


@contextmanager
def _begun(cells: Sequence[CellSummary], results: Results) -> Iterator[Callable[[str | None], Charts]]:
    """Begin the charts of these cells; yields a function that takes what they omit, and waits for them."""
    from plots.render import draw

    if not any(cell.rounds for cell in cells):
        yield lambda note: Charts(cells=cells, note="There are no charts: no cell has figures.")
        return
    options = draw.DrawOptions(formats=("svg",), style="web", in_report=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        draw.charts_begun(chart_input(cells, results), Path(folder), options) as paths,
    ):

        def finish(note: str | None) -> Charts:
            try:
                charts = [
                    inlined(path.read_text(encoding="utf-8"), path.stem, f"chart{number}-")
                    for number, path in enumerate(paths, 1)
                ]
            except UserError as error:
                return Charts(cells=cells, note=f"There are no charts: {error}.")
            return Charts(charts=charts, cells=cells, note=note)

        yield finish


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
