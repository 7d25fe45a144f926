"""Untrusted text made harmless: a results file may hold anything, and it must show as text.

Everything that a report shows goes through `visible`; HTML then through the template's own escaping, Markdown through
`markdown`, the table's data through `json_in_html`.
"""

import json
import re
import unicodedata
from typing import Any

_MAX_CHARS = 400
# Control, format (also those that change the direction of writing), surrogate, private and unassigned characters, and
# those that end a line: none has a shape of its own, so their numbers are shown.
_NO_SHAPE = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_PLAIN = re.compile(r"[ -~]*")
# An underscore between letters is text; elsewhere it is markup.
_MARKUP = re.compile(r"([\\`*\[\]<>|~#&@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")


def visible(text: str, most: int = _MAX_CHARS) -> str:
    """Return a text with its shapeless characters as numbers, like \\x1b and \\u202e, and at most `most` long."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if _PLAIN.fullmatch(text):
        return text
    return "".join(_shown(char) for char in text)


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _NO_SHAPE:
        return char
    if char in "\n\t":
        return " "
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def markdown(text: str) -> str:
    """Return a text that Markdown shows as it is, within a line and within a table."""
    return _MARKUP.sub(r"\\\1", visible(text)).strip()


def json_in_html(value: Any) -> str:
    """Return JSON for a script element that is data: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
