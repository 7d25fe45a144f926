"""Measured ceilings of a device: a table for the terminal, and plain values for JSON."""

import textwrap
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from profiler.device.bandwidth_record import READ, Ceiling, KernelRun
from quant.base.text import counted
from quant.base.units import format_bytes

_SHOWN = ("F16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K")
_GIGA = 1e9
_BUSY_SHARE = 0.8  # a median below this part of the fastest pass means that other programs ran


def render_ceiling(ceiling: Ceiling, now: datetime, width: int) -> list[str]:
    """Return the table of rates by kernel and thread count, with an explanation."""
    n_bytes = max(run.n_bytes for run in ceiling.runs)
    n_passes = min(len(run.times_ns) for run in ceiling.runs)
    lines = textwrap.wrap(
        f"Ceilings, measured {age_of(ceiling, now)}: each the fastest of {n_passes} or more passes over "
        f"{format_bytes(n_bytes)}. Column read is the fastest of all kernels, the others are matrix-vector products "
        "with weights of one type.",
        width,
        break_on_hyphens=False,
    )
    lines += ["", _row("", "threads", ("read", *_SHOWN))]
    by_place = {(run.kernel, run.n_threads): run for run in ceiling.runs}
    for unit, rate in (("GB/s", "best_bytes_per_s"), ("GFLOP/s", "best_flop_per_s")):
        for index, n_threads in enumerate(ceiling.thread_counts()):
            read = ceiling.read_bytes_per_s(n_threads) if unit == "GB/s" else None
            rates = [read, *(getattr(by_place.get((name, n_threads)), rate, None) for name in _SHOWN)]
            lines.append(_row("" if index else unit, str(n_threads), [_giga(each) for each in rates]))
    repacked = [name for name in _SHOWN if any(run.kernel == name and _is_repacked(run) for run in ceiling.runs)]
    if repacked:
        note = f"{', '.join(repacked)}: repacked, llama.cpp's default; --no-repack disables it."
        lines += ["", *textwrap.wrap(note, width, break_on_hyphens=False)]
    share = min(run.median_bytes_per_s / run.best_bytes_per_s for run in ceiling.runs)
    if share < _BUSY_SHARE:
        lines += textwrap.wrap(
            f"Some medians are {1 - share:.0%} below the fastest pass: other programs ran. Close them and "
            "measure again.",
            width,
        )
    return lines


def _row(unit: str, threads: str, figures: Sequence[str]) -> str:
    return (f"  {unit:<8}{threads:>7}" + "".join(f"{figure:>8}" for figure in figures)).rstrip()


def _giga(figure: float | None) -> str:
    return "" if figure is None else f"{figure / _GIGA:.1f}"


def _is_repacked(run: KernelRun) -> bool:
    return run.buffer not in (None, "CPU")


def age_of(ceiling: Ceiling, now: datetime) -> str:
    """Return how long ago it was measured: "just now", "5 minutes ago", "3 days ago"."""
    try:
        then = datetime.strptime(ceiling.measured_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "at an unknown time"
    seconds = (now - then).total_seconds()
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            return f"{counted(int(seconds // length), name)} ago"
    return "just now"


def ceiling_object(ceiling: Ceiling, now: datetime) -> dict[str, Any]:
    """Return the fastest and the median rates as plain values."""
    return {
        "measured_at": ceiling.measured_at,
        "age": age_of(ceiling, now),
        "read": [
            {
                "n_threads": run.n_threads,
                "bytes_per_s": run.best_bytes_per_s,
                "median_bytes_per_s": run.median_bytes_per_s,
                "kernel": run.kernel,
            }
            for count in ceiling.thread_counts()
            if (run := ceiling.best_read(count))
        ],
        "mat_vec": [
            {
                "type": run.kernel,
                "n_threads": run.n_threads,
                "bytes_per_s": run.best_bytes_per_s,
                "median_bytes_per_s": run.median_bytes_per_s,
                "flop_per_s": run.best_flop_per_s,
                "repacked": _is_repacked(run),
                "pass_bytes": run.n_bytes,
            }
            for run in ceiling.runs
            if run.kernel != READ
        ],
    }
