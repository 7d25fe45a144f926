"""The order of candidates: by criteria in turn, or by weights.

In turn (the default): the best quality, then the fastest, then the smallest, then the fewest threads; of a choice by
speed (rule.py) the fastest, then the best quality, and so on. Overlapping intervals are ties. The first class of a
criterion holds the candidates that no other is surely better than: their intervals all share a point, so any two of
them are a tie. The second class holds those of the rest, and so on. Each criterion divides the classes of the criterion
before. Speed counts twice: first by intervals that allow for what disturbed a cell, then, where these are a tie, as
measured: a background load that all cells had alike leaves their order as it is.

By weights: the product of three shares, each to the power of its weight. speed: tokens per second relative to the
fastest. memory: the smallest relative to the cell's. quality: a half for every KLD_HALF nats of KLD; where none is
measured, a half at BPW_HALF bits per weight, and each additional bit halves the exponent. These two constants are a
convention of this program, not a measurement; they make a few bits at the low end weigh more than many at the high end.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from profiler.recommend.records import Candidate, Order, Prefer
from profiler.records.span import Span

KLD_HALF = 0.1
BPW_HALF = 4.5  # bits of a Q4_0 or Q4_K block per weight, the field's usual choice


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and its class by each criterion, 0 for the best.

    In turn, each is a class within those of the criteria before it.
    """

    candidate: Candidate
    quality: int
    speed: int
    measured: int  # the speed as measured, with no allowance for disturbances
    memory: int
    by_speed: bool = False  # speed comes before quality
    score: float  # by weights, the highest first; 0 in turn


def basis_of(candidates: Sequence[Candidate]) -> str:
    """Return what quality is judged by: "kld" where every candidate has it, else "bpw"."""
    return "kld" if candidates and all(each.kld is not None for each in candidates) else "bpw"


def rank(candidates: Sequence[Candidate], basis: str, order: Order, *, by_speed: bool = False) -> list[Ranked]:
    """Return the candidates in order, the best first; `by_speed`: in turn, speed comes before quality."""
    quality = [_quality(each, basis) for each in candidates]
    speed = [_inverted(each.speed_within) for each in candidates]
    measured = [_inverted(each.speed) for each in candidates]
    memory = [each.memory_bytes for each in candidates]
    everyone = range(len(candidates))
    classes: dict[int, tuple[int, ...]]
    scores = [0.0] * len(candidates)
    if order is None and by_speed:
        nested = _nested((speed, measured, quality, memory), list(everyone))
        classes = {place: (each[2], each[0], each[1], each[3]) for place, each in nested.items()}
    elif order is None:
        classes = _nested((quality, speed, measured, memory), list(everyone))
    else:
        each_alone = map(_classes, (quality, measured, measured, memory))
        classes = dict(zip(everyone, zip(*each_alone, strict=True), strict=True))
        speeds, memories = ([classes[place][criterion] for place in everyone] for criterion in (1, 3))
        leaders = _Leaders(candidates, speeds, memories)
        scores = [leaders.score(place, basis, order) for place in everyone]
    ranked = []
    for place, candidate in enumerate(candidates):
        of_quality, of_speed, as_measured, of_memory = classes[place]
        ranked.append(
            Ranked(
                candidate=candidate,
                quality=of_quality,
                speed=of_speed,
                measured=as_measured,
                memory=of_memory,
                by_speed=by_speed and order is None,
                score=scores[place],
            )
        )
    return sorted(ranked, key=_key)


def _nested(spans: Sequence[Sequence[Span | None]], places: Sequence[int]) -> dict[int, tuple[int, ...]]:
    """Return the classes of some candidates by each criterion in turn, each within a class of the one before."""
    if not spans:
        return dict.fromkeys(places, ())
    parts: dict[int, list[int]] = {}
    for place, number in zip(places, _classes([spans[0][place] for place in places]), strict=True):
        parts.setdefault(number, []).append(place)
    return {
        place: (number, *rest)
        for number, members in parts.items()
        for place, rest in _nested(spans[1:], members).items()
    }


def _key(ranked: Ranked) -> tuple[object, ...]:
    each = ranked.candidate
    speed = each.speed
    return (
        -round(ranked.score, 9),
        *((ranked.speed, ranked.measured, ranked.quality) if ranked.by_speed else ()),
        *(() if ranked.by_speed else (ranked.quality, ranked.speed, ranked.measured)),
        ranked.memory,
        each.n_threads + each.n_threads_batch,
        -(speed.value if speed else 0.0),
        each.bpw,
        each.cell_key,
    )


def _quality(candidate: Candidate, basis: str) -> Span | None:
    """Return the loss of quality: the KLD, or fewer bits per weight."""
    if basis == "kld":
        return candidate.kld_span
    bits = -round(candidate.bpw, 2)
    return Span(bits, bits, bits, "min-max")


def _inverted(span: Span | None) -> Span | None:
    """Return a span in which the fastest is the lowest."""
    return Span(-span.value, -span.hi, -span.lo, span.kind) if span else None


def _classes(spans: Sequence[Span | None]) -> list[int]:
    """Return the class numbers of spans, the lowest first; what was not measured comes last.

    Sorted by lower ends, a class is a run: it ends before a span that begins above the lowest of the upper ends.
    """
    known = [place for place in range(len(spans)) if spans[place] is not None]
    known.sort(key=lambda place: _ends(spans[place]))
    lowest = [math.inf] * (len(known) + 1)  # of the upper ends from here on
    for index in range(len(known) - 1, -1, -1):
        lowest[index] = min(lowest[index + 1], _ends(spans[known[index]])[1])
    numbers = [len(known)] * len(spans)
    number, bar = -1, -math.inf
    for index, place in enumerate(known):
        if _ends(spans[place])[0] > bar or number < 0:
            number, bar = number + 1, lowest[index]
        numbers[place] = number
    return numbers


def _ends(span: Span | None) -> tuple[float, float]:
    assert span is not None
    return span.lo, span.hi


class _Leaders:
    """The best figure of each class, which represents all its members."""

    def __init__(self, candidates: Sequence[Candidate], speeds: Sequence[int], memories: Sequence[int]) -> None:
        self._candidates, self._speeds, self._memories = candidates, speeds, memories
        self._speed = _best(candidates, speeds, lambda each: each.speed, max)
        self._memory = _best(candidates, memories, lambda each: each.memory_bytes, min)

    def score(self, place: int, basis: str, prefer: Prefer) -> float:
        """Return the logarithm of the product of shares."""
        each = self._candidates[place]
        speed, memory = self._speed.get(self._speeds[place]), self._memory.get(self._memories[place])
        parts = [
            (prefer.speed, math.log(speed / max(self._speed.values())) if speed else -math.inf),
            (prefer.memory, math.log(min(self._memory.values()) / memory) if memory else -math.inf),
            (prefer.quality, quality_share_log(each, basis)),
        ]
        return sum(weight * value for weight, value in parts if weight)


def quality_share_log(candidate: Candidate, basis: str) -> float:
    """Return the logarithm of quality's share, defined in the module's docstring."""
    # The bits are those of a results file, where they can be any number.
    lost = (candidate.kld or 0.0) / KLD_HALF if basis == "kld" else math.exp2(min(BPW_HALF - candidate.bpw, 1000.0))
    return -math.log(2) * max(lost, 0.0)


def _best(
    candidates: Sequence[Candidate],
    classes: Sequence[int],
    span_of: Callable[[Candidate], Span | None],
    better: Callable[[float, float], float],
) -> dict[int, float]:
    found: dict[int, float] = {}
    for each, number in zip(candidates, classes, strict=True):
        span = span_of(each)
        if span and span.value > 0:
            found[number] = better(found.get(number, span.value), span.value)
    return found
