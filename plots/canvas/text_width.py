"""Text that fits: how wide it is, where its lines break, how a long name is shortened."""

import textwrap
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from quant.base.text import one_line

_MAX_CHARS = 200
_MAX_LINE_CHARS = 400  # more than the widest page has
_HAIR = 0.03
_BREAK_CHARS = 20  # after a place, by which textwrap decides whether a line may break there


def printable(text: str) -> str:
    """Make untrusted text fit for one line: no character that ends a line or that an SVG file cannot hold."""
    return one_line(text, _MAX_CHARS)


# Captions share most of their lines and all of their characters.
@lru_cache(4096)
def width_in(text: str, font_pt: float) -> float:
    """Measure a line in inches, in the font of the chart that is being drawn."""
    wide_pt, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=font_pt), ismath=False)
    return float(wide_pt) / 72


def wrapped(text: str, most_in: float, font_pt: float) -> str:
    """Break text into lines no wider than `most_in`, each as full as it can be."""
    lines, rest = [], " ".join(text.split())
    while rest:
        # Characters one by one are almost as wide as together: where that decides, the line itself is measured.
        widths = list(accumulate(width_in(char, font_pt) for char in rest[:_MAX_LINE_CHARS]))
        fits = max(1, bisect_right(widths, (1 - _HAIR) * most_in))
        most = bisect_right(widths, (1 + _HAIR) * most_in)
        if width_in(_first_line(rest, fits), font_pt) > most_in:  # ligatures and combining characters
            fits, most = 1, fits - 1
        while fits < most:
            middle = (fits + most + 1) // 2
            if width_in(_first_line(rest, middle), font_pt) <= most_in:
                fits = middle
            else:
                most = middle - 1
        lines.append(_first_line(rest, fits))
        rest = rest[len(lines[-1]) :].lstrip()
    return "\n".join(lines)


def _first_line(text: str, most_chars: int) -> str:
    return textwrap.wrap(text[: most_chars + _BREAK_CHARS], most_chars)[0]


def shortened(text: str, most_in: float, font_pt: float) -> str:
    """Shorten a name that is too wide in its middle: names differ at their ends."""
    shown, kept = text, len(text)
    while kept > 2 and width_in(shown, font_pt) > most_in:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[-(kept // 2) :]}"
    return shown
