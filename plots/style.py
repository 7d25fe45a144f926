"""How every chart looks: sizes for a paper's column, a slide or a page, and one colour and marker per level.

Colours of levels are Okabe and Ito's, which people with any colour vision tell apart; markers carry the same
distinction into greyscale. Source: Okabe & Ito, Color Universal Design (2008).
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import msgspec

from quant.errors import UserError

matplotlib.use("Agg")

# Green and purple look alike to some people, so they do not follow each other.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#000000", "#8A8A8A")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
FORMATS = ("png", "svg", "pdf")


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


STYLES = {
    style.name: style
    for style in (
        Style(name="paper", column=3.4, page=7.0, panel=2.2, tall=8.0, font=8, caption=6.5, line=1.1),
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


class Look(msgspec.Struct, frozen=True):
    """How one series is drawn."""

    colour: str
    marker: str


def looks(names: Sequence[str]) -> dict[str, Look]:
    """Give each name a look of its own, the same in every chart that is given the same names."""
    return {name: Look(COLOURS[place % 8], MARKERS[(place + place // 8) % 8]) for place, name in enumerate(names)}


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
