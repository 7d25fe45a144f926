"""The order of candidates: by criteria in turn, by weights, or by speed alone.

In turn (the default): the best quality, then the fastest, then the smallest, then the fewest threads. Overlapping
intervals are ties. The first class of a criterion holds the candidates that no other is surely better than: their
intervals all share a point, so any two of them are a tie. The second class holds those of the rest, and so on. Each
criterion divides the classes of the criterion before.

By weights: the product of three shares, each to the power of its weight. speed: tokens per second relative to the
fastest. memory: the smallest relative to the cell's. quality: a half for every KLD_HALF nats of KLD; where none is
measured, a half at BPW_HALF bits per weight, and each additional bit halves the exponent. These two constants are a
convention of this program, not a measurement; they make a few bits at the low end weigh more than many at the high end.

By speed alone: the highest median.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from profiler.recommend.records import FASTEST, Candidate, Order, Prefer
from profiler.records.span import Span

KLD_HALF = 0.1
BPW_HALF = 4.5  # bits of a Q4_0 or Q4_K block per weight, the field's usual choice


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and its class by each criterion, 0 for the best.

    In turn, a class of speed is one of those of equal quality, a class of memory one of those equal in both.
    """

    candidate: Candidate
    quality: int
    speed: int
    memory: int
    score: float  # by weights or by speed alone, the highest first; 0 in turn


def basis_of(candidates: Sequence[Candidate]) -> str:
    """Return what quality is judged by: "kld" where every candidate has it, else "bpw"."""
    return "kld" if candidates and all(each.kld is not None for each in candidates) else "bpw"


def rank(candidates: Sequence[Candidate], basis: str, order: Order) -> list[Ranked]:
    """Return the candidates in order, the best first."""
    if order == FASTEST:
        return _by_speed(candidates)
    spans = (
        [_quality(each, basis) for each in candidates],
        [_inverted(each.speed) for each in candidates],
        [each.memory_bytes for each in candidates],
    )
    everyone = range(len(candidates))
    if order is None:
        classes = _nested(spans, list(everyone))
        scores = [0.0] * len(candidates)
    else:
        classes = dict(zip(everyone, zip(*map(_classes, spans), strict=True), strict=True))
        speeds, memories = ([classes[place][criterion] for place in everyone] for criterion in (1, 2))
        leaders = _Leaders(candidates, speeds, memories)
        scores = [leaders.score(place, basis, order) for place in everyone]
    ranked = []
    for place, each in enumerate(candidates):
        quality, speed, memory = classes[place]
        ranked.append(Ranked(candidate=each, quality=quality, speed=speed, memory=memory, score=scores[place]))
    return sorted(ranked, key=_key)


def _by_speed(candidates: Sequence[Candidate]) -> list[Ranked]:
    ordered = sorted(candidates, key=lambda each: (-(each.speed.value if each.speed else 0.0), each.quant))
    return [
        Ranked(candidate=each, quality=0, speed=0, memory=0, score=each.speed.value if each.speed else 0.0)
        for each in ordered
    ]


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
        ranked.quality,
        ranked.speed,
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
