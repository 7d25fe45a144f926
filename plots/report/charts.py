"""Charts as SVG inside the page: their text stays text, and their colours follow the page's light or dark."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import msgspec

from profiler.results import Results
from profiler.summary import CellSummary
from quant.errors import UserError

_MOST_PANELS = 3  # devices and workloads; more are drawn by `slmprof plot`
_MOST_MODELS = 12
_MOST_CELLS = 400  # of a panel: where every level has every thread count, one model may be enough
_COLOUR = re.compile(r"#([0-9a-f]{6})\b")
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

    chosen, left = _chosen(summaries)
    if not chosen:
        return [], "There are no charts: no cell has figures."
    with tempfile.TemporaryDirectory() as folder:
        try:
            paths = draw_all(chosen, results.environments, Path(folder), formats=("svg",), style="web", results=results)
        except UserError as error:
            return [], f"There are no charts: {error}."
        charts = [
            inlined(path.read_text(encoding="utf-8"), path.stem, f"chart{number}-")
            for number, path in enumerate((path for path in paths if path.suffix == ".svg"), 1)
        ]
    return charts, left


def _chosen(summaries: Sequence[CellSummary]) -> tuple[list[CellSummary], str | None]:
    """Take the panels with the most cells, and of each the models with the most, the smallest first."""
    from plots.load import distinct, panels

    drawable = [cell for cell in summaries if cell.rounds]
    names = [(shown.model, cell) for shown, cell in zip(distinct(drawable), drawable, strict=True)]
    model_of = {id(cell): model for model, cell in names}
    groups = sorted(panels(drawable), key=lambda panel: -len(panel.cells))
    models: dict[str, int] = {}
    for cell in drawable:
        models[model_of[id(cell)]] = cell.n_params
    fullest = [model_of[id(cell)] for cell in groups[0].cells] if groups else []
    fit = max(1, _MOST_CELLS * len(set(fullest)) // max(1, len(fullest)))
    n_models = min(_MOST_MODELS, fit)
    kept_models = set(sorted(models, key=lambda model: (models[model], model))[:n_models])
    kept = [cell for panel in groups[:_MOST_PANELS] for cell in panel.cells if model_of[id(cell)] in kept_models]
    parts = []
    if len(groups) > _MOST_PANELS:
        parts.append(f"{_MOST_PANELS} of {len(groups)} combinations of device, workload and settings")
    if len(models) > n_models:
        parts.append(f"the {n_models} smallest of {len(models)} models")
    return kept, f"Drawn are {' and '.join(parts)}; slmprof plot draws all." if parts else None


def inlined(document: str, name: str, prefix: str) -> Chart:
    """Turn an SVG document of our own drawing into an element of a page that holds several.

    Ids get a prefix, so that no two charts share one; a colour #rrggbb becomes var(--krrggbb, #rrggbb), which the
    page's style sheet gives another value in the dark.
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
    value = _REFERENCE.sub(rf"url(#{prefix}\1)", value)
    # A presentation attribute cannot hold a variable, a style can; matplotlib writes styles, but for patterns' sizes.
    return _COLOUR.sub(r"var(--k\1, #\1)", value) if key == "style" else value


def _sheet_words(root: ElementTree.Element, prefix: str) -> list[str]:
    """Give the texts that belong to the figure and to no axis: title, marks, caption."""
    figure = root.find(f"./g[@id='{prefix}figure_1']")
    groups = [] if figure is None else [each for each in figure if each.get("id", "").startswith(f"{prefix}text_")]
    return [" ".join(" ".join(text.itertext()).split()) for group in groups for text in group.iter("text")]
