"""Each finding of the survey as a question, with this board's answer and how sure it is; pure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import msgspec

from plots.survey.fits import Fit, fit, ratio
from plots.survey.published import PublishedModel, published_levels, published_models, published_shares
from plots.survey.records import Point, Shares, Survey, Sweeps
from plots.survey.words import RANGES, basis_of, figure_of, ms_of, name_of, percent_of, sentence, times_of
from profiler.analysis.trend import LEAST_CHANGE
from profiler.records.cell_summary import CellSummary, Sustained
from profiler.records.span import Span
from quant.base.text import counted

FigureOf = Callable[[Point], Span | None]
_EQUAL_SIZE = 1.15  # of models that count as equally large
_LINEAR = 0.95  # of the variance that a line explains, at the lower end of its interval
_SAME_SHAPE = ("phi-1", "phi-1.5")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One question with its answer."""

    question: str
    verdict: str
    basis: str  # what the answer rests on: "measured", "predicted", "measured and predicted", "no figures"
    reasons: tuple[str, ...]
    published: str  # what the published values say of the same question


def answers_of(survey: Survey) -> list[Answer]:
    """Return all answers, in the order of the figures."""
    points = survey.points
    return [
        memory_answer(points),
        pair_answer(points, survey.models.pair),
        architecture_answer(points),
        levels_answer(survey.levels),
        head_answer(survey.shares),
        throttle_answer(survey.sweeps, survey.sustained.cells[0] if survey.sustained else None),
    ]


def memory_answer(points: Sequence[Point]) -> Answer:
    """Does memory grow linearly with parameters?"""
    question = "Does memory grow linearly with parameters?"
    known = [(each, each.memory_mib) for each in points if each.memory_mib is not None]
    found = fit([each.n_params / 1e6 for each, _ in known], [span for _, span in known])
    published = [published_models()[each.model] for each, _ in known if each.model in published_models()]
    theirs = fit(
        [each.n_params / 1e6 for each, _ in known if each.model in published_models()],
        [_flat(each.memory_mib) for each in published],
    )
    if found is None:
        return _unanswered(question, "too few models", _published_line(theirs))
    verdict = "Yes" if found.explained.lo >= _LINEAR else "Roughly" if found.explained.value >= 0.8 else "No"
    far, above = _farthest(known, found)
    cache = max(known, key=lambda each: _cache_share(each[0]))[0]
    return Answer(
        question=question,
        verdict=f"{verdict}: a straight line explains {percent_of(found.explained)} of the variance",
        basis=basis_of([each for each, _ in known]),
        reasons=(
            (
                f"Each million unique parameters takes {figure_of(found.slope)} MiB (95 % interval) on top of "
                f"{found.line.intercept:.0f} MiB, over {counted(len(known), 'model')}."
            ),
            f"Farthest from the line is {name_of(far.model)}, {abs(above):.0%} {'above' if above > 0 else 'below'} it.",
            (
                f"The KV cache is what parameters do not explain: at most {_cache_share(cache):.0%} of the memory "
                f"({name_of(cache.model)}), at least {min(_cache_share(each) for each, _ in known):.0%}."
            ),
        ),
        published=_published_line(theirs),
    )


def pair_answer(points: Sequence[Point], pair: Sequence[str]) -> Answer:
    """Does the first model of the pair decode faster than the second, also for its size?"""
    first, second = (*pair, "", "")[:2]
    question = f"Does {name_of(first)} beat {name_of(second)} in decode, and does it by unique parameters?"
    by_model = {each.model: each for each in points}
    one, other = by_model.get(first), by_model.get(second)
    theirs = _published_pair(first, second, by_model)
    if one is None or other is None or one.decode_ms is None or other.decode_ms is None:
        return _unanswered(question, "one of the two has no speed", theirs)
    times = ratio(other.decode_ms, one.decode_ms)
    share = one.n_params / other.n_params
    per_parameter = msgspec.structs.replace(
        times, value=times.value * share, lo=times.lo * share, hi=times.hi * share, min_max=None
    )
    reasons = [
        (
            f"Its decode is {times_of(times)} as fast with {share:.2f} times the unique parameters "
            f"({one.n_params / 1e6:.0f} against {other.n_params / 1e6:.0f} million)."
        ),
        f"In parameters per second it is {times_of(per_parameter)} as fast.",
    ]
    if one.ttft_ms and other.ttft_ms:
        reasons.append(f"Its first token comes {times_of(ratio(other.ttft_ms, one.ttft_ms))} as fast.")
    verdict = {"yes": "Yes", "no": "No", "undecided": "A tie"}[_sure(times)]
    by_size = {"yes": "also by unique parameters", "no": "not by unique parameters",
               "undecided": "by unique parameters it is a tie"}[_sure(per_parameter)]  # fmt: skip
    return Answer(
        question=question,
        verdict=f"{verdict}, {times.value:.2f} times as fast; {by_size}",
        basis=basis_of([one, other]),
        reasons=tuple(reasons),
        published=theirs,
    )


def architecture_answer(points: Sequence[Point]) -> Answer:
    """How much does architecture explain at equal size?"""
    question = "How much does architecture explain at equal size?"
    decode, first = _by_size(points, lambda each: each.decode_ms), _by_size(points, lambda each: each.ttft_ms)
    known = [each for each in points if each.decode_ms]
    theirs = _published_architecture(points)
    if decode is None or first is None:
        return _unanswered(question, "too few models have speeds", theirs)
    reasons = [
        (
            f"Size alone explains {percent_of(decode.explained)} of the variance of decode and "
            f"{percent_of(first.explained)} of that of the first token; the rest is architecture and noise."
        )
    ]
    for name, of in (("decode", _decode), ("first token", _first_token)):
        if (widest := _widest(points, of)) is not None:
            one, other, times = widest
            reasons.append(
                f"Of two models within {_EQUAL_SIZE - 1:.0%} of a size, {name_of(one.model)} takes {times_of(times)} "
                f"as long per parameter as {name_of(other.model)}: {name}."
            )
    twins = [each for each in points if each.model in _SAME_SHAPE and each.decode_ms]
    if len(twins) == len(_SAME_SHAPE) and all(each.is_measured for each in twins):
        reasons.append(
            f"{name_of(twins[0].model)} and {name_of(twins[1].model)} have one shape: their decode differs by noise, "
            f"{times_of(_apart(twins))}."
        )
    widest_decode = _widest(points, _decode)
    return Answer(
        question=question,
        verdict=f"{1 - decode.explained.value:.0%} of the variance of decode"
        + (f", and up to {widest_decode[2].value:.2f} times the time per parameter" if widest_decode else ""),
        basis=basis_of(known),
        reasons=tuple(reasons),
        published=theirs,
    )


def levels_answer(levels: Sequence[Point]) -> Answer:
    """Which level is fastest in prefill and which in decode?"""
    model = name_of(levels[0].model) if levels else "the model"
    question = f"Which level of {model} is fastest in prefill, and which in decode?"
    measured = [each for each in levels if each.is_measured and each.prefill_ms and each.decode_ms]
    compared = measured if len(measured) > 1 else [each for each in levels if each.prefill_ms and each.decode_ms]
    published = published_levels().values()
    theirs = (
        f"{min(published, key=lambda each: each.prefill_ms).level} in prefill, "
        f"{min(published, key=lambda each: each.decode_ms).level} in decode, of Phi-1.5 at 50 tokens"
    )
    if len(compared) < 2:
        return _unanswered(question, "fewer than two levels have speeds", theirs)
    parts, reasons = [], []
    for name, of in (("prefill", lambda each: each.prefill_ms), ("decode", _decode)):
        best, ties = fastest(compared, of)
        is_open = len(ties) == len(compared) - 1
        named = "no level for sure" if is_open else " or ".join([best.level, *(each.level for each in ties)])
        parts.append(f"{named} in {name}")
        listed = ", ".join(
            f"{each.level} {ms_of(of(each))}" for each in sorted(compared, key=lambda each: _value(of, each))
        )
        reasons.append(f"{name.capitalize()}, ms per token: {listed}.")
    if left := len(levels) - len(compared):
        reasons.append(f"{counted(left, 'level')} without a measurement {'is' if left == 1 else 'are'} not compared.")
    reasons.append("Levels whose ranges overlap are a tie and are named together.")
    return Answer(
        question=question,
        verdict=sentence("; ".join(parts)),
        basis=basis_of(compared),
        reasons=tuple(reasons),
        published=theirs,
    )


def head_answer(shares: Sequence[Shares]) -> Answer:
    """What share of the time has the LM head?"""
    question = "What share of the time has the LM head?"
    theirs = "; ".join(
        f"{name_of(model)} {phase} {found['LM head']:.1%}" for (model, phase), found in published_shares().items()
    )
    known = [(each, span) for each in shares if (span := each.shares.get("LM head")) is not None]
    if not known:
        return _unanswered(question, "operators were not timed", theirs)
    decode = [span for each, span in known if each.phase == "decode"]
    verdict = f"{min(each.value for each in decode):.0%} to {max(each.value for each in decode):.0%} of decode"
    return Answer(
        question=question,
        verdict=verdict if len(decode) > 1 else f"{decode[0].value:.0%} of decode" if decode else "of prefill only",
        basis="measured",
        reasons=(
            *(
                f"{name_of(each.model)}, {each.phase}: {span.value:.1%} ({RANGES[span.kind]} {span.lo:.1%} to "
                f"{span.hi:.1%}, {counted(each.n_runs, 'run')})."
                for each, span in known
            ),
            (
                "Here it is computed for the last token of a prompt only; the published share of prefill is about that "
                "of a head that is computed for every token."
            ),
        ),
        published=theirs,
    )


def throttle_answer(sweeps: Sweeps, cell: CellSummary | None = None) -> Answer:
    """Does it throttle?

    Args:
        cell: a sustained load; without one the survey's short rounds answer.
    """
    question = "Does the board throttle under sustained load?"
    theirs = "figure 9; its values are not among those that this page repeats"
    if cell and cell.sustained and cell.sustained.decode_change:
        return Answer(
            question=question,
            verdict=_sustained_verdict(cell.sustained, cell.sustained.decode_change),
            basis="measured",
            reasons=tuple(_sustained_reasons(cell, cell.sustained, cell.sustained.decode_change)),
            published=theirs,
        )
    if not sweeps.n_cells:
        return _unanswered(question, "nothing was measured", theirs)
    flagged = sweeps.n_throttled
    reasons = [
        "Sustained inference was not measured. What follows is of the survey's rounds, each a process of seconds.",
        f"{counted(sweeps.n_drifting, 'cell')} of {sweeps.n_cells} drifted over its rounds.",
    ]
    if sweeps.hottest_c is not None:
        reasons.append(f"The hottest reading was {sweeps.hottest_c:.0f} °C.")
    if sweeps.mhz is not None:
        reasons.append(f"The mean clock was {sweeps.mhz[0]:.0f} to {sweeps.mhz[1]:.0f} MHz.")
    return Answer(
        question=question,
        verdict=f"Not in short rounds: {counted(flagged, 'cell')} of {sweeps.n_cells} throttled"
        if not flagged
        else f"Yes, already in short rounds: {counted(flagged, 'cell')} of {sweeps.n_cells} throttled",
        basis="measured, not sustained",
        reasons=tuple(reasons),
        published=theirs,
    )


def _sustained_verdict(found: Sustained, change: Span) -> str:
    if found.steady.throttle:
        return f"Yes, the system reports {' and '.join(found.steady.throttle)}"
    if change.hi < 0 and change.value <= -LEAST_CHANGE:
        return f"Decode becomes slower by {-change.value:.0%}; the system reports no limit"
    return f"No: decode of the steady state is {1 + change.value:.2f} times that of the first minute"


def _sustained_reasons(cell: CellSummary, found: Sustained, change: Span) -> Iterator[str]:
    against = msgspec.structs.replace(change, value=1 + change.value, lo=1 + change.lo, hi=1 + change.hi, min_max=None)
    yield (
        f"{name_of(cell.artifact.model)}, request after request for {found.lasted_s / 60:.0f} minutes: decode of the "
        f"steady state is {times_of(against)} that of the first minute."
    )
    if not found.is_steady:
        yield "The speed still changed at the end."
    for what, first, steady, unit in (
        ("hottest reading", found.first.temperature_c, found.steady.temperature_c, "°C"),
        ("clock", found.first.mhz, found.steady.mhz, "MHz"),
        ("power", found.first.watts, found.steady.watts, "W"),
    ):
        if first is not None and steady is not None:
            yield f"The {what} went from {first:.0f} to {steady:.0f} {unit}."


def fastest(points: Sequence[Point], of: FigureOf) -> tuple[Point, list[Point]]:
    """Return the point with the least time, and those whose range overlaps its range."""
    best = min(points, key=lambda each: _value(of, each))
    span = of(best)
    assert span is not None
    return best, [each for each in points if each is not best and (other := of(each)) and other.overlaps(span)]


def _value(of: FigureOf, point: Point) -> float:
    span = of(point)
    return math.inf if span is None else span.value


def _decode(point: Point) -> Span | None:
    return point.decode_ms


def _first_token(point: Point) -> Span | None:
    return point.ttft_ms


def _by_size(points: Sequence[Point], of: FigureOf) -> Fit | None:
    known = [(each, span) for each in points if (span := of(each)) is not None]
    return fit([math.log(each.n_params) for each, _ in known], [span for _, span in known], math.log)


def _widest(points: Sequence[Point], of: FigureOf) -> tuple[Point, Point, Span] | None:
    """Return the two models of about equal size whose times per parameter are farthest apart, the slower first."""
    found = []
    for one, other in combinations([each for each in points if of(each)], 2):
        sizes = one.n_params / other.n_params
        if not 1 / _EQUAL_SIZE <= sizes <= _EQUAL_SIZE:
            continue
        first, second = of(one), of(other)
        assert first is not None
        assert second is not None
        slow, fast = (one, other) if first.value / second.value >= sizes else (other, one)
        times, share = ratio(*(span for each in (slow, fast) if (span := of(each)))), fast.n_params / slow.n_params
        found.append((slow, fast, msgspec.structs.replace(
            times, value=times.value * share, lo=times.lo * share, hi=times.hi * share
        )))  # fmt: skip
    return max(found, key=lambda each: each[2].value, default=None)


def _apart(twins: Sequence[Point]) -> Span:
    slow, fast = sorted(twins, key=lambda each: -_value(_decode, each))
    assert slow.decode_ms is not None
    assert fast.decode_ms is not None
    return ratio(slow.decode_ms, fast.decode_ms)


def _farthest(known: Sequence[tuple[Point, Span]], found: Fit) -> tuple[Point, float]:
    """Return the model farthest from the line, and by which share of the line it is above."""

    def above(point: Point, span: Span) -> float:
        return span.value / found.line.at(point.n_params / 1e6) - 1

    point, span = max(known, key=lambda each: abs(above(*each)))
    return point, above(point, span)


def _cache_share(point: Point) -> float:
    total = sum(point.parts_mib.values())
    return point.parts_mib.get("KV cache", 0.0) / total if total else 0.0


def _published_line(found: Fit | None) -> str:
    if found is None:
        return "too few of these models were published"
    return (
        f"a line explains {percent_of(found.explained)} of the variance over the same models, with "
        f"{found.slope.value:.2f} MiB for each million unique parameters"
    )


def _published_pair(first: str, second: str, by_model: Mapping[str, Point]) -> str:
    one, other = published_models().get(first), published_models().get(second)
    if one is None or other is None:
        return "the survey has no such pair"
    times = other.decode_ms / one.decode_ms
    shown = f"{times:.2f} times as fast in decode, {other.ttft_ms / one.ttft_ms:.2f} times to the first token"
    if first in by_model and second in by_model:
        share = by_model[first].n_params / by_model[second].n_params
        shown += (
            f"; {times * share:.2f} times by unique parameters, and {times * _counted_share(one, other):.2f} by the "
            "published counts, which have the tied output matrix twice"
        )
    return shown


def _counted_share(one: PublishedModel, other: PublishedModel) -> float:
    return one.n_params_llama_cpp / other.n_params_llama_cpp


def _published_architecture(points: Sequence[Point]) -> str:
    known = [(each, published_models()[each.model]) for each in points if each.model in published_models()]
    sizes = [math.log(each.n_params) for each, _ in known]
    decode = fit(sizes, [_flat(theirs.decode_ms) for _, theirs in known], math.log)
    first = fit(sizes, [_flat(theirs.ttft_ms) for _, theirs in known], math.log)
    if decode is None or first is None:
        return "too few of these models were published"
    return (
        f"size explains {percent_of(decode.explained)} of the variance of decode and {percent_of(first.explained)} of "
        "that of the first token; Phi-1 and Phi-1.5, of one shape, differ 1.23 times in decode, so much is noise"
    )


def _unanswered(question: str, why: str, published: str) -> Answer:
    return Answer(question=question, verdict=f"No answer: {why}", basis="no figures", reasons=(), published=published)


def _sure(times: Span) -> str:
    """Return whether a ratio is above 1 for sure: yes, no, or undecided where its range holds 1."""
    return "yes" if times.lo > 1 else "no" if times.hi < 1 else "undecided"


def _flat(value: float) -> Span:
    return Span(value, value, value, "min-max")
