"""How `doctor` shows the ceilings that were measured and the source of energy: rows and a table, or values for JSON."""

import textwrap
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from profiler.device.bandwidth_record import READ, Ceiling, KernelRun, load_ceiling
from profiler.device.energy.meter import Meter, NoMeter
from quant.base.units import format_bytes

if TYPE_CHECKING:
    from profiler.doctor.diagnosis import Diagnosis

_WIDTH = 80
_SHOWN = ("F16", "Q8_0", "Q4_0", "Q4_K", "Q5_K", "Q6_K")
_GIGA = 1e9
_BUSY_SHARE = 0.8  # a median below this part of the best pass tells of other programs


def ceiling_of(diagnosis: "Diagnosis", *, measure: bool) -> Ceiling | None:
    """Give what was kept of this environment, or measure it now.

    Raises:
        UserError: it cannot be measured.
    """
    seen = diagnosis.seen
    if not measure:
        return load_ceiling(seen.environment.id)
    from profiler.measure.bandwidth import measure_ceiling
    from profiler.measure.repack_probe import repack_in_force

    click.echo("measuring the bandwidth; half a minute or more, best while nothing else runs", err=True)
    return measure_ceiling(
        seen.environment.id,
        diagnosis.threads,
        repack=repack_in_force(True),
        available_bytes=seen.available_bytes,
    )


def beside_rows(
    ceiling: Ceiling | None, meter: Meter | NoMeter, now: datetime | None = None
) -> tuple[list[tuple[str, str]], list[str]]:
    """Give the rows of the description, label and text, and the table."""
    rows = [("energy", describe_meter(meter))]
    if ceiling is None:
        rows.append(("bandwidth", "not measured in this environment; slmprof doctor --bandwidth does it"))
        return rows, []
    return rows, render_ceiling(ceiling, now or datetime.now(UTC))


def describe_meter(meter: Meter | NoMeter) -> str:
    """Tell the source and how it is read, or why there is none."""
    if isinstance(meter, NoMeter):
        return f"none: {meter.reason}"
    way = f"sampled every {meter.interval_ms} ms" if meter.interval_ms else "a counter, read before and after decode"
    return f"{meter.source}, {way}: {meter.covers}"


def beside_object(ceiling: Ceiling | None, meter: Meter | NoMeter, now: datetime | None = None) -> dict[str, Any]:
    """Give the same as plain values for JSON."""
    names = ("source", "covers", "interval_ms", "reason")
    return {
        "energy": {name: getattr(meter, name, None) for name in names},
        "ceilings": None if ceiling is None else ceiling_object(ceiling, now or datetime.now(UTC)),
    }


def render_ceiling(ceiling: Ceiling, now: datetime) -> list[str]:
    """Write the table, and what must be known to read it."""
    n_bytes = max(run.n_bytes for run in ceiling.runs)
    n_passes = min(len(run.times_ns) for run in ceiling.runs)
    lines = _paragraph(
        f"Ceilings, measured {age_of(ceiling, now)}: each the fastest of {n_passes} "
        f"or more passes over {format_bytes(n_bytes)}. read is what the best of all kernels reached, the other columns "
        "are mat-vecs of one type of weights.",
    )
    lines += ["", _row("", "threads", ("read", *_SHOWN))]
    by_place = {(run.kernel, run.n_threads): run for run in ceiling.runs}
    for index, n_threads in enumerate(ceiling.thread_counts()):
        read = ceiling.read_bytes_per_s(n_threads)
        figures = [read, *(_best(by_place.get((name, n_threads))) for name in _SHOWN)]
        lines.append(_row("" if index else "GB/s", str(n_threads), [_giga(figure) for figure in figures]))
    for index, n_threads in enumerate(ceiling.thread_counts()):
        figures = [None, *(_flops(by_place.get((name, n_threads))) for name in _SHOWN)]
        lines.append(_row("" if index else "GFLOP/s", str(n_threads), [_giga(figure) for figure in figures]))
    repacked = [name for name in _SHOWN if any(run.kernel == name and _is_repacked(run) for run in ceiling.runs)]
    if repacked:
        lines += ["", *_paragraph(f"{', '.join(repacked)}: repacked, as llama.cpp does unless --no-repack.")]
    share = min(run.median_bytes_per_s / run.best_bytes_per_s for run in ceiling.runs)
    if share < _BUSY_SHARE:
        lines += _paragraph(
            f"Some medians are {1 - share:.0%} below the fastest pass: other programs ran. Close them and "
            "measure anew.",
        )
    return lines


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, break_on_hyphens=False)


def _row(unit: str, threads: str, figures: Any) -> str:
    return (f"  {unit:<8}{threads:>7}" + "".join(f"{figure:>8}" for figure in figures)).rstrip()


def _best(run: KernelRun | None) -> float | None:
    return run.best_bytes_per_s if run else None


def _flops(run: KernelRun | None) -> float | None:
    return run.best_flop_per_s if run else None


def _giga(figure: float | None) -> str:
    return "" if figure is None else f"{figure / _GIGA:.1f}"


def _is_repacked(run: KernelRun) -> bool:
    return run.buffer not in (None, "CPU")


def age_of(ceiling: Ceiling, now: datetime) -> str:
    """Tell how long ago it was measured: "just now", "5 minutes ago", "3 days ago"."""
    try:
        then = datetime.strptime(ceiling.measured_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return "at an unknown time"
    seconds = (now - then).total_seconds()
    for name, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'' if count == 1 else 's'} ago"
    return "just now"


def ceiling_object(ceiling: Ceiling, now: datetime) -> dict[str, Any]:
    """Give the figures as plain values, medians beside the best."""
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
