"""Text that fits: how wide it is, where its lines break, how a long name is shortened."""

import textwrap

from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

_MAX_CHARS = 200


def printable(text: str) -> str:
    """Make a stranger's text fit for one line: no letter that ends a line or that an SVG file cannot hold."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:_MAX_CHARS]).split())


def width_in(text: str, font_pt: float) -> float:
    """Measure a line in inches, in the font of the chart that is being drawn."""
    wide_pt, _, _ = text_to_path.get_text_width_height_descent(text, FontProperties(size=font_pt), ismath=False)
    return float(wide_pt) / 72


def wrapped(text: str, most_in: float, font_pt: float) -> str:
    """Break text into lines no wider than `most_in`, each as full as it can be."""
    lines, rest = [], " ".join(text.split())
    at_most = int(4 * 72 * most_in / font_pt) + 1  # hardly a letter is narrower than a quarter of its size
    while rest:
        fits, most = 1, min(len(rest), at_most)
        while fits < most:
            middle = (fits + most + 1) // 2
            if width_in(textwrap.wrap(rest, middle)[0], font_pt) <= most_in:
                fits = middle
            else:
                most = middle - 1
        lines.append(textwrap.wrap(rest, fits)[0])
        rest = rest[len(lines[-1]) :].lstrip()
    return "\n".join(lines)


def shortened(text: str, most_in: float, font_pt: float) -> str:
    """Leave out the middle of a name that is too wide: names differ at their ends."""
    shown, kept = text, len(text)
    while kept > 2 and width_in(shown, font_pt) > most_in:
        kept -= 1
        shown = f"{text[: (kept + 1) // 2]}…{text[-(kept // 2) :]}"
    return shown
