"""A Jetson's power mode, which caps clocks and switches cores off.

Source: /var/lib/nvpmodel/status ("pmode:0002 fmode:quiet") and the POWER_MODEL lines of /etc/nvpmodel.conf.
"""

import re
from pathlib import Path

from profiler.device.os.files import read_text


def power_mode(root: Path) -> str | None:
    """Return the name of the active mode, or its number where nvpmodel.conf does not list it."""
    number = _active(root)
    if number is None:
        return None
    name = _modes(root).get(number)
    return f"nvpmodel {name}" if name else f"nvpmodel mode {number}"


def fastest_mode(root: Path) -> int | None:
    """Return the number of the mode without limits, unless it is active. It need not be 0 nor the highest."""
    number = _active(root)
    if number is None:
        return None
    fastest = next((each for each, name in _modes(root).items() if name.startswith("MAXN")), None)
    return None if fastest == number else fastest


def _active(root: Path) -> int | None:
    match = re.search(r"pmode:(\d{1,4})", read_text(root / "var/lib/nvpmodel/status") or "")
    return int(match[1]) if match else None


def _modes(root: Path) -> dict[int, str]:
    text = read_text(root / "etc/nvpmodel.conf") or ""
    found = re.findall(r"^\s*<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+)\s*>", text, re.MULTILINE)
    return {int(number): name for number, name in found}
