"""Small files of /proc and /sys."""

import re
from pathlib import Path

from quant.base.units import KIB


def read_text(path: Path) -> str | None:
    """Return a file's text without the final newline, and without the NUL that ends a device tree's strings.

    None where it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """Return a file's integer; None where it holds something else, like "max", or cannot be read."""
    text = read_text(path)
    return int(text) if text is not None and re.fullmatch(r"-?\d{1,20}", text) else None


def sizes_of(text: str | None) -> dict[str, int]:
    """Parse lines like "MemTotal:  16000 kB", as in /proc/meminfo, and return bytes by name."""
    found = re.findall(r"^(\w+):\s+(\d{1,20}) kB$", text or "", re.MULTILINE)
    return {name: int(kib) * KIB for name, kib in found}
