"""Small files of /proc and /sys: their text, or None where they cannot be read."""

import re
from pathlib import Path


def read_text(path: Path) -> str | None:
    """Give a file's text without the line end, and without the NUL that ends a device tree's strings."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Give a file's whole number; None where something else stands there, as "max"."""
    text = read_text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,20}", text) else None
