"""A stranger's text made harmless: what stands in a results file may be anything, and must show as text.

Everything that a report shows goes through `visible`; HTML then through the template's own escaping, Markdown through
`markdown`, the table's data through `json_in_html`.
"""

import json
import re
import unicodedata
from typing import Any

_MAX_CHARS = 400
# Control, format (also those that turn the direction of writing), surrogate, private and unassigned letters, and those
# that end a line: none has a shape of its own, so their numbers are shown.
_NO_SHAPE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_PLAIN = re.compile(r"[ -~]*")
# An underline between letters is one; elsewhere it is markup.
_MARKUP = re.compile(r"([\\`*\[\]<>|~#&@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def visible(text: str, most: int = _MAX_CHARS) -> str:
    """Show letters without a shape by their numbers, like \\x1b and \\u202e; a text of no end is cut."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_shown(letter) for letter in text)


def _shown(letter: str) -> str:
    if unicodedata.category(letter) not in _NO_SHAPE:
        return letter
    if letter in "\n\t":
        return " "
    number = ord(letter)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def markdown(text: str) -> str:
    """Write a text so that Markdown shows it as it is, within a line and within a table."""
    return _MARKUP.sub(r"\\\1", visible(text)).strip()


def json_in_html(value: Any) -> str:
    """Write JSON for a script element that is data: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
