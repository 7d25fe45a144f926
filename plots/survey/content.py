"""The content of the page, gathered once; html.py and markdown.py only write it down."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from plots.canvas.setting import device_in_words
from plots.survey.answers import Answer, answers_of
from plots.survey.figures.draw import ShownFigure, draw_figures
from plots.survey.plan import ROUNDS, stages
from plots.survey.published import DEVICE, SOURCE, published_models
from plots.survey.records import Point, Survey
from plots.survey.words import name_of
from profiler.records.span import Span
from quant.base.text import counted
from quant.base.units import format_params

COLUMNS = ("model", "parameters", "kind", "prefill ms/token", "first token ms", "decode ms/token", "memory MiB",
           "published first token ms", "published decode ms", "published memory MiB")  # fmt: skip

ORDER = "In this order: what a question compares first, then what widens the range of sizes."


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """The page, in the order in which it is read."""

    title: str
    subtitle: str
    setup: list[tuple[str, str]]
    answers: list[Answer]
    figures: list[ShownFigure]
    rows: list[list[str]]
    check: str  # of predictions against measurements
    notes: list[str]
    order: list[str]
    command: str


def page_of(survey: Survey, charts: Path) -> Page:
    """Draw the figures into a folder and return the page."""
    figures = draw_figures(survey, charts)
    environment = survey.environment
    return Page(
        title=f"The survey's figures on {environment.board or environment.cpu_model}",
        subtitle=_subtitle(survey),
        setup=[
            ("device", device_in_words(environment)),
            ("load", f"50 tokens in, 50 out, context 2048; {counted(survey.n_threads, 'thread')}"),
            ("weights", "synthetic: random numbers in each model's shape, for speed and memory only"),
            ("published", f"{SOURCE}, figures 7, 8, 10 and 11: one {DEVICE}, llama.cpp on its GPU, 4-bit files"),
        ],
        answers=answers_of(survey),
        figures=figures,
        rows=[_row(each) for each in survey.points],
        check=_check(survey),
        notes=list(survey.notes),
        order=[
            f"{stage.what}: {', '.join(dict.fromkeys(name_of(piece.model) for piece in stage.pieces))}"
            for stage in stages(survey.models)
        ],
        command=survey.command,
    )


def _subtitle(survey: Survey) -> str:
    points = survey.points
    n_measured = sum(each.is_measured for each in points)
    sizes = [each.n_params for each in points]
    span = f" of {format_params(min(sizes))} to {format_params(max(sizes))} unique parameters" if sizes else ""
    return (
        f"{counted(len(points), 'model')}{span}: {n_measured} measured, {len(points) - n_measured} "
        f"{'predicted' if survey.predictions else 'with estimated memory only'}"
    )


def _row(point: Point) -> list[str]:
    theirs = published_models().get(point.model)
    spans = (point.prefill_ms, point.ttft_ms, point.decode_ms, point.memory_mib)
    published = (theirs.ttft_ms, theirs.decode_ms, theirs.memory_mib) if theirs else (None, None, None)
    kind = f"measured, {counted(point.n_rounds, 'round')}" if point.is_measured else "predicted"
    kind = kind if point.decode_ms else "memory estimated"
    return [
        name_of(point.model),
        format_params(point.n_params),
        kind + (f" ({', '.join(point.flags)})" if point.flags else ""),
        *map(_figure, spans),
        *("" if value is None else f"{value:g}" for value in published),
    ]


def _figure(span: Span | None) -> str:
    if span is None:
        return ""
    digits = 0 if span.value >= 100 else 1 if span.value >= 10 else 2
    return f"{span.value:.{digits}f} [{span.lo:.{digits}f}, {span.hi:.{digits}f}]"


def _check(survey: Survey) -> str:
    """Return how predictions did where they can be compared with a measurement."""
    measured = {(each.model, each.level): each for each in (*survey.points, *survey.levels) if each.is_measured}
    pairs = [
        (mine, theirs)
        for each in survey.predictions
        if (cell := measured.get((each.model, each.level)))
        for mine, theirs in ((each.ttft_ms, cell.ttft_ms), (each.decode_ms, cell.decode_ms))
        if mine and theirs
    ]
    if not pairs:
        return ""
    n_held = sum(mine.lo <= theirs.value <= mine.hi for mine, theirs in pairs)
    errors = sorted(abs(mine.value / theirs.value - 1) for mine, theirs in pairs)
    return (
        f"Of {len(pairs)} first tokens and decodes that were both predicted and measured, the range holds {n_held}; "
        f"the median error is {errors[len(errors) // 2]:.0%}, the largest {errors[-1]:.0%}."
    )


def method() -> Sequence[tuple[str, str]]:
    """Return how it was measured and predicted."""
    rounds = f"up to {ROUNDS} of one repetition, each a process of its own, shuffled within a stage, with drift control"
    predicted = "speeds from llama.cpp's own graph and what slmprof calibrate timed, memory from slmprof estimate"
    return [
        ("rounds", rounds),
        ("predicted", predicted),
        ("parameters", "unique ones; the published counts are llama.cpp's, with a tied output matrix twice"),
    ]
