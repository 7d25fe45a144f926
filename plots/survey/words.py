"""Figures of answers in words: each with its range, and what the range is."""

from collections.abc import Sequence

from plots.survey.fits import Range
from plots.survey.published import published_models
from plots.survey.records import Point
from profiler.records.span import Span

RANGES = {"interval": "95 % interval", "min-max": "smallest and largest round", "estimate": "90 % range"}


def basis_of(points: Sequence[Point]) -> str:
    """Return what an answer rests on."""
    n_measured = sum(each.is_measured for each in points)
    if n_measured == len(points):
        return "measured"
    if not n_measured:
        return "predicted"
    return f"{n_measured} measured, {len(points) - n_measured} predicted"


def times_of(times: Span) -> str:
    """Return a ratio with its range."""
    return f"{times.value:.2f} times ({RANGES[times.kind]} {times.lo:.2f} to {times.hi:.2f})"


def ms_of(span: Span | None) -> str:
    """Return milliseconds with their range."""
    return f"{_short(span.value)} ({_short(span.lo)} to {_short(span.hi)})" if span else "?"


def _short(value: float) -> str:
    """Return three digits, and of large numbers all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def percent_of(share: Range) -> str:
    """Return a share with its interval."""
    return f"{share.value:.0%} ({share.lo:.0%} to {share.hi:.0%})"


def figure_of(found: Range) -> str:
    """Return a figure with its interval."""
    return f"{found.value:.2f} ({found.lo:.2f} to {found.hi:.2f})"


def sentence(text: str) -> str:
    """Return a text as a sentence begins."""
    return text[:1].upper() + text[1:]


def name_of(model: str) -> str:
    """Return a model's name as the survey has it."""
    return published_models()[model].name if model in published_models() else model
