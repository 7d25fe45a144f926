"""How every chart looks: sizes for a paper's column, a slide or a page; colours of levels, marks of families.

A level has one colour in every chart and every file: the fewer bits a weight has, the lighter. Float, legacy and
k-quant levels go from black over red to yellow; i-quants and the other small ones go from dark to light blue and teal.
Levels of equal bits are near each other in colour, and told apart by their lines' dashes and by their names.
Source of the first scale: matplotlib's "inferno" (Smith & van der Walt, 2015, public domain), at places where
neighbours look different to people of any colour vision. A family (architecture) has one marker everywhere, and a
mark's filling tells real weights from made-up ones: full, hollow for synthetic, half full for a stand-in's shape.
"""

import warnings
import zlib
from collections.abc import Iterator, Sequence
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
    "F32": "#000000", "BF16": "#190C3E", "F16": "#02020C",
    "Q8_0": "#330A5F", "Q6_K": "#7A1D6D",
    "Q5_1": "#8F2469", "Q5_K_M": "#A32C61", "Q5_K_S": "#AC2F5D", "Q5_0": "#B63458",
    "Q4_K_M": "#CB4149", "Q4_K_S": "#D74F3E", "Q4_1": "#E25834", "Q4_0": "#EC6726",
    "Q3_K_L": "#F78311", "Q3_K_M": "#FC9F07", "Q3_K_S": "#FBAC11", "Q2_K": "#F2E055", "Q2_K_S": "#F2E661",
    "IQ4_NL": "#08519C", "IQ4_XS": "#1A63AE", "IQ3_M": "#2B7BBA", "IQ3_S": "#3484BF", "IQ3_XS": "#3A8AC2",
    "IQ3_XXS": "#4292C6", "IQ2_M": "#79B6D9", "IQ2_S": "#85BCDC", "IQ2_XS": "#8FC2DF", "IQ2_XXS": "#9AC8E2",
    "IQ1_M": "#B7D6EA", "IQ1_S": "#C6DFEF",
    "MXFP4_MOE": "#00796B", "NVFP4": "#00897B", "TQ2_0": "#26A69A", "TQ1_0": "#5FBDB3", "Q2_0": "#3FAF9F",
    "Q1_0": "#80CBC4",
}  # fmt: skip
# Of levels that llama.cpp did not have when this was written: (bits per weight from, colour).
_BY_BITS = ((12.0, "F16"), (7.0, "Q8_0"), (6.0, "Q6_K"), (5.0, "Q5_K_M"), (4.0, "Q4_K_M"), (3.0, "Q3_K_M"))
Dash = Literal["-", "--"] | tuple[int, tuple[float, ...]]
_SHORT: Dash = (0, (1.5, 1.0))
_DASHES: dict[str, Dash] = {"legacy": (0, (5, 1.2)), "i-quant": (0, (3, 1, 1, 1)), "ternary": _SHORT,
                            "low-bit": _SHORT, "fp4": _SHORT}  # fmt: skip
_VARIANT_DASH: Dash = (0, (2.5, 1.5, 0.8, 1.5))

# Families that a reader is likely to see side by side have marks that look least alike.
Marker = str | tuple[int, int, int]
FAMILY_MARKERS: dict[str, Marker] = {
    "llama": "o", "qwen2": "s", "qwen3": "D", "gemma": "^", "gemma2": "<", "gemma3": "v", "phi2": "P", "phi3": "X",
    "gptneox": "p", "gpt2": "*", "bloom": "h", "openelm": ">", "stablelm": "8", "olmo": "d", "olmo2": "H",
    # Stars and polygons by (corners, kind, turn): matplotlib's letters do not suffice.
    "minicpm": (4, 1, 0), "minicpm3": (4, 1, 45), "smollm3": (6, 1, 0), "granite": (3, 1, 0), "internlm2": (7, 0, 0),
    "mamba": (8, 1, 0),
}  # fmt: skip
MARKERS = ("o", "s", "D", "^", "v", "<", "P", "X", "p", "*", "h", ">", "8", "d", "H")


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
    beside: int = 3  # panels beside each other at most


STYLES = {
    style.name: style
    for style in (
        Style(name="paper", column=3.5, page=7.0, panel=2.2, tall=8.0, font=8, caption=6.5, line=1.1),
        Style(name="slide", column=7.5, page=12.0, panel=4.6, tall=4.6, font=15, caption=10.5, line=2.0),
        Style(name="web", column=6.0, page=10.0, panel=3.4, tall=13.0, font=11, caption=8.5, line=1.5),
    )
}


def find_style(name: str) -> Style:
    """Give a style by its name.

    Raises:
        UserError: there is none of that name.
    """
    if name not in STYLES:
        raise UserError(f"unknown style '{name}'; choose from {', '.join(STYLES)}")
    return STYLES[name]


def fitted(style: Style, columns: int | None) -> Style:
    """Make every chart as wide as one column, panels below each other, or as two; None leaves it to the chart."""
    if columns == 1:
        return msgspec.structs.replace(style, page=style.column, beside=1)
    return msgspec.structs.replace(style, column=style.page) if columns == 2 else style


class Look(msgspec.Struct, frozen=True):
    """How one level is drawn."""

    colour: str
    dash: Dash = "-"
    rim: str = "white"  # around its marks


def looks(cells: Sequence[CellSummary]) -> dict[str, Look]:
    """Give each level of some cells its look, which depends on nothing but the level.

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


def marker_of(arch: str) -> Marker:
    """Give a family's marker; one that is not in the table gets one by its name, the same every time."""
    known = FAMILY_MARKERS.get(arch)
    return known or MARKERS[zlib.crc32(arch.encode()) % len(MARKERS)]


def filling_of(cell: CellSummary) -> str:
    """Tell how a cell's marks are filled: "full", "hollow" for synthetic weights, "half" in a stand-in's shape."""
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
        # A model's name is a stranger's text: "$" is a letter here, not mathematics.
        "text.parse_math": False,
        "hatch.linewidth": 0.5,
    }
    with matplotlib.rc_context(values), warnings.catch_warnings():  # type: ignore[arg-type, unused-ignore]
        # A letter that the font lacks is drawn as a box, which is enough said.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        yield
