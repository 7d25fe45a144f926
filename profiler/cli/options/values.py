"""Values of options, read from the text that was typed.

Each raises a UserError that names the option where the text is none of its values.
"""

import math

from quant.base.errors import UserError
from quant.base.ints import MAX_TOKENS, parse_ints
from quant.base.units import parse_duration_s

_MOST_SUSTAINED_S = 24 * 3600


def ints_of(text: str | None, option: str, least: int = 0, most: int = MAX_TOKENS) -> tuple[int, ...]:
    """Read a list of whole numbers like 1,2 or 1-4; empty where none was typed."""
    return () if text is None else parse_ints(text, option, least=least, most=most)


def threads_of(text: str | None, option: str) -> tuple[int, ...]:
    """Read thread counts, among which may be auto."""
    from profiler.records.config import MAX_THREADS
    from profiler.sweep.thread_search import AUTO

    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    counts = [part for part in parts if part.lower() != "auto"]
    found = ints_of(",".join(counts), option, 1, MAX_THREADS) if counts else ()
    return (AUTO, *found) if len(counts) < len(parts) else found


def words_of(text: str) -> tuple[str, ...]:
    """Read a list of words, each once."""
    return tuple(dict.fromkeys(part.strip().lower() for part in text.split(",")))


def target_of(text: str | None) -> float | None:
    """Read a relative half-width in per cent, with or without the sign."""
    if text is None:
        return None
    target = _share(text)
    if not 0.001 <= target <= 0.5:
        raise UserError(f"--target {text} is not a share from 0.1% to 50%; write one like 2%")
    return target


def sustain_s_of(text: str | None) -> int:
    """Read for how long a load is sustained, in whole seconds; 0 where it is not."""
    if text is None:
        return 0
    sustain_s = parse_duration_s(text)
    if not 1 <= sustain_s <= _MOST_SUSTAINED_S:
        raise UserError(f"--sustain {text} is not a time from 1s to 24h; write one like 10m")
    return round(sustain_s)


def patience_of(text: str) -> float:
    """Read a share of time in per cent, with or without the sign."""
    patience = _share(text)
    if not 0 <= patience <= 10:
        raise UserError(f"--patience {text} is not a share from 0% to 1000%; write one like 30%")
    return patience


def _share(text: str) -> float:
    """Read per cent, with or without the sign; not a number where it is none."""
    try:
        return float(text.strip().removesuffix("%")) / 100
    except ValueError:
        return math.nan
