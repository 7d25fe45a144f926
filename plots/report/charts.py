"""Charts as SVG inside the page: their text stays text, and lies on white whatever the page's colours.

A level has one colour everywhere, chosen for a white ground; the darkest would not be seen on a dark one.
"""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from plots.render.sampling import SOME, fullest, narrowed, some_of
from profiler.analysis.summarise import summarise
from profiler.records.cell_summary import CellSummary
from profiler.results.file import Results
from quant.base.errors import UserError

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_WIDE_PT = 500.0
_DROPPED = ("metadata", "style")


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: its name, everything that its title and caption say, and the element itself."""

    name: str
    words: str
    svg: str
    wide: bool


Drawn = tuple[list[Chart], str | None]  # the charts, and what is left out


@contextmanager
def charts_begun(results: Results) -> Iterator[Callable[[Sequence[CellSummary]], Drawn]]:
    """Begin to draw, where a few of very many cells are drawn: these can be known before the others are summarised.

    What it gives takes the summaries of all cells, and gives the charts and what is left out.
    """
    with ExitStack() as stack:
        kept, left = some_of(results)
        begun = stack.enter_context(_begun(summarise(kept), kept)) if left else None

        def finish(summaries: Sequence[CellSummary]) -> Drawn:
            if begun is not None:
                return begun(f"{left}; slmprof plot --all draws all.")
            chosen, rest = fullest(summaries, SOME)
            with _begun(chosen, narrowed(results, chosen)) as drawn:
                return drawn(f"{rest}; slmprof plot draws all." if rest else None)

        yield finish


@contextmanager
def _begun(cells: Sequence[CellSummary], results: Results) -> Iterator[Callable[[str | None], Drawn]]:
    """Begin the charts of these cells; what it gives takes what is left out, and waits for them."""
    from plots.render import draw

    if not any(cell.rounds for cell in cells):
        yield lambda left: ([], "There are no charts: no cell has figures.")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        draw.charts_begun(
            cells,
            results.environments,
            Path(folder),
            formats=("svg",),
            style="web",
            results=results,
            with_rows=False,
        ) as paths,
    ):

        def finish(left: str | None) -> Drawn:
            try:
                charts = [
                    inlined(path.read_text(encoding="utf-8"), path.stem, f"chart{number}-")
                    for number, path in enumerate(paths, 1)
                ]
            except UserError as error:
                return [], f"There are no charts: {error}."
            return charts, left

        yield finish


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
