"""Sizes, durations and counts as text and back: the only place where bytes become MiB, and "2GiB" becomes bytes."""

import re
from datetime import UTC, datetime

from quant.base.errors import UserError

KIB, MIB, GIB, TIB = 1024, 1024**2, 1024**3, 1024**4
_UNITS = {
    "": 1,
    "b": 1,
    "k": KIB,
    "kib": KIB,
    "m": MIB,
    "mib": MIB,
    "g": GIB,
    "gib": GIB,
    "t": TIB,
    "tib": TIB,
}
_SECONDS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_MOST = 2.0**53  # a whole number beyond is not exact as a float
_MOST_SECONDS = 365 * 24 * 3600.0  # a timer overflows not far beyond, and earlier on some systems
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


def format_bytes(n_bytes: float) -> str:
    """Return a size in B, KiB, MiB or GiB."""
    if abs(n_bytes) < KIB:
        return f"{n_bytes:.0f} B"
    for unit, size in (("KiB", KIB), ("MiB", MIB)):
        if abs(n_bytes) < 1000 * size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{n_bytes / GIB:.2f} GiB"


def format_params(n_params: int, active: int | None = None) -> str:
    """Return a parameter count as people write it: 134.5M, 1.24B, and of a mixture of experts 7.62B, 2.40B active."""
    if active is not None and active < n_params:
        return f"{format_params(n_params)}, {format_params(active)} active"
    if n_params < 1e6:
        return f"{n_params / 1e3:.1f}K"
    return f"{n_params / 1e6:.1f}M" if n_params < 1e9 else f"{n_params / 1e9:.2f}B"


def format_duration(seconds: float) -> str:
    """Return a duration as people write it: 42 s, 3 min 10 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def utc_now() -> str:
    """Return the time as records have it: 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _parse(text: str, units: dict[str, float] | dict[str, int], what: str, example: str, most: float = _MOST) -> float:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if not match or match[2].lower() not in units:
        raise UserError(f"'{text}' is not {what}; write it like {example}")
    value = float(match[1]) * units[match[2].lower()]
    if value > most:
        raise UserError(f"'{text}' is too large for {what}; write it like {example}")
    return value


def parse_bytes(text: str) -> int:
    """Read '2GiB', '512M' or '1000' as bytes; the units are binary.

    Raises:
        UserError: the text is not a size.
    """
    return int(_parse(text, _UNITS, "a size", "512MiB or 2GiB"))


def parse_duration_s(text: str) -> float:
    """Read '90', '90s', '30m', '1h' or '500ms' as seconds.

    Raises:
        UserError: the text is not a duration.
    """
    return _parse(text, _SECONDS, "a duration", "90s, 30m or 1h", _MOST_SECONDS)


def parse_count(text: str) -> int:
    """Read '1B', '500M' or '1000' as a number of parameters.

    Raises:
        UserError: the text is not a count.
    """
    return int(_parse(text, _COUNTS, "a number of parameters", "500M or 1B"))
