"""How every chart looks: sizes for a paper's column, a slide or a page; colours of levels, marks of families.

A level has one colour in every chart and every file. The levels that are usual together are far apart for readers of
any colour vision, and of float, legacy and k-quant levels those with fewer bits are lighter; rarer variants (Q4_K_S,
IQ3_S) are near the usual one. Source: found by maximising the least CIEDE2000 distance between the usual ten, as seen
with normal vision, protanopia, deuteranopia and tritanopia; `python -m tests.benchmarks.charts_look` checks it. A
family (architecture) has one marker in all charts of a call, and of the usual ones everywhere; its filling tells real
weights from synthetic ones: full, hollow for synthetic, half full for a stand-in's shape.
"""

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
import msgspec

from profiler.records.cell_summary import CellSummary
from quant.base.errors import UserError
from quant.gguf_io.levels import LEVEL_BY_NAME

matplotlib.use("Agg")

FORMATS = ("png", "svg", "pdf")
# Bits per weight are not enough: Q4_0 and Q4_K_S have the same.
LEVEL_COLOURS = {
    "F32": "#000000", "BF16": "#14142E", "F16": "#02020C",
    "Q8_0": "#0B0E79", "Q6_K": "#982312",
    "Q5_1": "#584C80", "Q5_K_M": "#605785", "Q5_K_S": "#6D6591", "Q5_0": "#766E9A",
    "Q4_K_M": "#3C76F8", "Q4_K_S": "#5B8BF9", "Q4_1": "#5F8A10", "Q4_0": "#6C991A",
    "Q3_K_L": "#E483BA", "Q3_K_M": "#ED94C5", "Q3_K_S": "#F1A8D0", "Q2_K": "#BAD130", "Q2_K_S": "#C6D95A",
    "IQ4_NL": "#0F7459", "IQ4_XS": "#68C790", "IQ3_M": "#946B7B", "IQ3_S": "#9D7484", "IQ3_XS": "#A27888",
    "IQ3_XXS": "#A67D8D", "IQ2_M": "#B096F3", "IQ2_S": "#B9A2F4", "IQ2_XS": "#C1ADF5", "IQ2_XXS": "#CAB9F6",
    "IQ1_M": "#B6D6FE", "IQ1_S": "#C6DFFE",
    "MXFP4_MOE": "#4504FF", "NVFP4": "#5A26FF", "TQ2_0": "#26A69A", "TQ1_0": "#5FBDB3", "Q2_0": "#3FAF9F",
    "Q1_0": "#80CBC4",
}  # fmt: skip
# Of levels that llama.cpp did not have when this was written: (bits per weight from, colour).
_BY_BITS = ((12.0, "F16"), (7.0, "Q8_0"), (6.0, "Q6_K"), (5.0, "Q5_K_M"), (4.0, "Q4_K_M"), (3.0, "Q3_K_M"))
Dash = Literal["-", "--"] | tuple[int, tuple[float, ...]]
_SHORT: Dash = (0, (1.5, 1.0))
_DASHES: dict[str, Dash] = {"legacy": (0, (5, 1.2)), "i-quant": (0, (3, 1, 1, 1)), "ternary": _SHORT,
                            "low-bit": _SHORT, "fp4": _SHORT}  # fmt: skip
_VARIANT_DASH: Dash = (0, (2.5, 1.5, 0.8, 1.5))

# Families that are often side by side have the most different marks.
Marker = str | tuple[int, int, int]
FAMILY_MARKERS: dict[str, Marker] = {
    "llama": "o", "qwen2": "s", "qwen3": "D", "gemma": "^", "gemma2": "<", "gemma3": "v", "phi2": "P", "phi3": "X",
    "gptneox": "p", "gpt2": "*", "bloom": "h", "openelm": ">", "stablelm": "8", "olmo": "d", "olmo2": "H",
    # Stars and polygons by (corners, kind, turn): matplotlib has too few named markers.
    "minicpm": (4, 1, 0), "minicpm3": (4, 1, 45), "smollm3": (6, 1, 0), "granite": (5, 1, 36), "internlm2": (7, 0, 0),
    "mamba": (8, 1, 0),
}  # fmt: skip
# For all other families: those that a reader tells apart, and those that are taken when there are no more.
_DISTINCT: tuple[Marker, ...] = (
    "o", "s", "D", "^", "v", "<", "P", "X", "p", "*", "h", ">", "d",
    (4, 1, 0), (4, 1, 45), (6, 1, 0), (5, 1, 36), (5, 0, 36),
)  # fmt: skip
_MUCH_ALIKE: tuple[Marker, ...] = ("8", "H", (7, 0, 0), (8, 1, 0), (5, 0, 18), (4, 1, 22), (3, 1, 30), (3, 1, 90))


class Style(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in inches and points."""

    name: str
    column: float  # width of a chart of one panel
    page: float  # width of a chart of several
    panel: float  # height of a panel where there is room
    tall: float  # height of all panels of a figure at most
    font: float
    caption: float
    line: float
    most_columns: int = 3  # panels side by side at most


STYLES = {
    style.name: style
    for style in (
        Style(name="paper", column=3.5, page=7.0, panel=2.2, tall=8.0, font=8, caption=6.5, line=1.1),
        Style(name="slide", column=7.5, page=12.0, panel=4.6, tall=4.6, font=15, caption=10.5, line=2.0),
        Style(name="web", column=6.0, page=10.0, panel=3.4, tall=13.0, font=11, caption=8.5, line=1.5),
    )
}


def find_style(name: str) -> Style:
    """Return a style by its name.

    Raises:
        UserError: no style has that name.
    """
    if name not in STYLES:
        raise UserError(f"unknown style '{name}'; choose from {', '.join(STYLES)}")
    return STYLES[name]


def fitted(style: Style, columns: int | None) -> Style:
    """Make every chart as wide as one column, with its panels stacked, or as two; None leaves it to the chart."""
    if columns == 1:
        return msgspec.structs.replace(style, page=style.column, most_columns=1)
    return msgspec.structs.replace(style, column=style.page) if columns == 2 else style


class Look(msgspec.Struct, frozen=True):
    """How one level is drawn."""

    colour: str
    dash: Dash = "-"
    rim: str = "white"  # around its marks


def looks(cells: Sequence[CellSummary]) -> dict[str, Look]:
    """Return the look of each level, which depends on nothing but the level.

    Of several files of one level (with and without an imatrix) the later ones have another dash and a dark rim.
    """
    bits = {cell.artifact.level: cell.artifact.bpw for cell in cells}
    found: dict[str, Look] = {}
    seen: set[str] = set()
    for name in sorted(bits):
        base = name.split(" ")[0]
        level = LEVEL_BY_NAME.get(base)
        near = next((near for least, near in _BY_BITS if bits[name] >= least), "Q2_K")
        again = base in seen
        seen.add(base)
        dash = _DASHES.get(level.family, "-") if level else "-"
        found[name] = Look(
            LEVEL_COLOURS.get(base, LEVEL_COLOURS[near]),
            _VARIANT_DASH if again else dash,
            "#333333" if again else "white",
        )
    return found


def markers_of(arches: Iterable[str]) -> dict[str, Marker]:
    """Return a marker for each family, no two alike while there are enough.

    A family that is not in the table gets one by its name, the next one that is free where another family has it.
    """
    names = sorted(set(arches))
    found = {arch: FAMILY_MARKERS[arch] for arch in names if arch in FAMILY_MARKERS}
    for arch in names:
        if arch not in found:
            first = zlib.crc32(arch.encode()) % len(_DISTINCT)
            in_turn = (*_DISTINCT[first:], *_DISTINCT[:first], *_MUCH_ALIKE)
            taken = set(found.values())
            found[arch] = next((marker for marker in in_turn if marker not in taken), in_turn[0])
    return found


def filling_of(cell: CellSummary) -> str:
    """Return "hollow" for estimates and synthetic weights, "half" for a stand-in's shape, "full" for real weights."""
    if cell.kind == "estimated":
        return "hollow"
    if cell.artifact.standin_family is not None:
        return "half"
    return "full" if cell.artifact.weights == "real" else "hollow"


@contextmanager
def drawing(style: Style) -> Iterator[None]:
    """Set matplotlib's parameters while a chart is made."""
    values: dict[str, Any] = {
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": style.font,
        "axes.titlesize": style.font,
        "axes.labelsize": style.font,
        "xtick.labelsize": style.font - 1,
        "ytick.labelsize": style.font - 1,
        "legend.fontsize": style.font - 1,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.color": "#E4E4E4",
        "grid.linewidth": 0.6,
        "axes.axisbelow": True,
        "axes.linewidth": 0.7,
        "lines.linewidth": style.line,
        "lines.markersize": 0.58 * style.font,
        "errorbar.capsize": 0.32 * style.font,
        "legend.frameon": False,
        "savefig.dpi": 200,
        # Without hinting text is as wide in a PNG as in an SVG, and at any resolution; so what is measured fits.
        "text.hinting": "none",
        "svg.hashsalt": "slmprof",
        # Text stays text, so that it can be found, read aloud and edited; the names are for viewers without DejaVu.
        "svg.fonttype": "none",
        "pdf.fonttype": 42,
        # A model's name is untrusted text: "$" is a character here, not mathematics.
        "text.parse_math": False,
        "hatch.linewidth": 0.5,
    }
    with matplotlib.rc_context(values), warnings.catch_warnings():  # type: ignore[arg-type, unused-ignore]
        # A character that the font lacks is drawn as a box; a warning would add nothing.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
