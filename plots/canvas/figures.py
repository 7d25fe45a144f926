"""The figures that charts draw, each with its range, in the units of the axes."""

from collections.abc import Iterable

import msgspec

from plots.canvas.panels import Panel, at_common_threads, levels_of
from profiler.records.cell_summary import CellSummary
from profiler.records.quality import Mean
from profiler.records.span import Span

MIB = 1 << 20
MILLION = 1e6


def decode_tps(cell: CellSummary) -> Span | None:
    """Return decode in tokens per second."""
    return cell.decode_tps


def prefill_tps(cell: CellSummary) -> Span | None:
    """Return prefill in tokens per second."""
    return cell.prefill_tps


def decode_ms(cell: CellSummary) -> Span | None:
    """Return decode in milliseconds per token."""
    return _ms_per_token(cell.decode_tps)


def prefill_ms(cell: CellSummary) -> Span | None:
    """Return prefill in milliseconds per token."""
    return _ms_per_token(cell.prefill_tps)


def ttft_ms(cell: CellSummary) -> Span | None:
    """Return the time to first token in milliseconds."""
    return cell.ttft_ms


def peak_mib(cell: CellSummary) -> Span | None:
    """Return the peak in MiB, less the process before the model was opened."""
    peak = cell.model_rss_bytes
    return _with(peak, peak.value / MIB, peak.lo / MIB, peak.hi / MIB) if peak else None


def kld_of(cell: CellSummary) -> Span | None:
    """Return what quantizing lost: the KLD from the reference, with two standard errors; else None."""
    kld = cell.quality.kld
    return Span(kld.value, max(0.0, kld.value - 2 * kld.se), kld.value + 2 * kld.se, "interval") if kld else None


def accuracy_pct(cell: CellSummary) -> Span | None:
    """Return the mean share of right answers in percent, with its 95 % interval."""
    return percent_of(cell.accuracy.mean) if cell.accuracy.mean is not None else None


def percent_of(share: Mean) -> Span:
    """Return a share in percent, with its 95 % interval."""
    value, reach = 100 * share.value, 196 * share.se
    return Span(value, max(0.0, value - reach), min(100.0, value + reach), "interval")


def flat(value: float) -> Span:
    """Return a figure that has no range."""
    return Span(value, value, value, "min-max")


def ends_of(figures: Iterable[Span]) -> list[float]:
    """Return both ends of every range, for the limits of an axis."""
    return [end for figure in figures for end in (figure.lo, figure.hi)]


def _ms_per_token(tps: Span | None) -> Span | None:
    """Turn tokens per second into milliseconds per token; the ends change places."""
    return _with(tps, 1000 / tps.value, 1000 / tps.hi, 1000 / tps.lo) if tps else None


def _with(figure: Span, value: float, lo: float, hi: float) -> Span:
    return msgspec.structs.replace(figure, value=value, lo=lo, hi=hi, min_max=None)


def levels_to_compare(panel: Panel) -> list[CellSummary] | str:
    """Return the cells with decode and memory at the panel's common threads, or why levels cannot be compared."""
    usable = [cell for cell in panel.cells if peak_mib(cell) and decode_tps(cell)]
    if not usable:
        return "no cell has both decode and memory"
    cells = at_common_threads(usable)
    return cells if len(levels_of(cells)) > 1 else "only one level was measured"
