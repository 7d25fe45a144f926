"""The order of candidates: by criteria in turn, or by weights. What intervals do not tell apart counts as equal.

In turn (the default): the best quality, then the fastest, then the smallest, then the fewest threads. Overlap does not
carry over from one pair to the next, so ties are made into classes: the best one and all whose intervals overlap with
its own are the first class, the best of the others leads the second, and so on.

By weights: the product of three shares, each to the power of its weight. speed: tokens per second against the fastest.
memory: the smallest against the cell's. quality: a half for every KLD_HALF nats of divergence; where none is measured,
a half at BPW_HALF bits per weight, and each bit more halves the exponent. These two constants are a convention of this
program and no measurement; they make a few bits at the low end weigh more than many at the high end.
"""

import math
from collections.abc import Callable, Sequence

import msgspec

from profiler.recommend.limits import kld_span
from profiler.recommend.records import Candidate, Prefer, Span

KLD_HALF = 0.1
BPW_HALF = 4.5  # bits of a Q4_0 or Q4_K block per weight, the field's usual choice


class Ranked(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate and the class that it is in by each criterion, 0 for the best."""

    candidate: Candidate
    quality: int
    speed: int
    memory: int
    score: float  # with weights; 0 without


def speed_of(candidate: Candidate) -> Span | None:
    """Give the speed that counts: of decode, and of prefill where only that was measured."""
    return candidate.decode_tps or candidate.prefill_tps


def basis_of(candidates: Sequence[Candidate]) -> str:
    """Say what stands for quality: "kld" where every candidate has it, else "bpw"."""
    return "kld" if candidates and all(each.kld is not None for each in candidates) else "bpw"


def rank(candidates: Sequence[Candidate], basis: str, prefer: Prefer | None) -> list[Ranked]:
    """Order candidates, the best first."""
    speeds = _classes([_lower_is_better(speed_of(each), inverted=True) for each in candidates])
    memories = _classes([_lower_is_better(each.memory_bytes) for each in candidates])
    if basis == "kld":
        qualities = _classes([_lower_is_better(kld_span(each)) for each in candidates])
    else:
        qualities = _classes([Span(*(3 * (-round(each.bpw, 2),))) for each in candidates])
    leaders = _Leaders(candidates, speeds, memories)
    ranked = [
        Ranked(
            candidate=each,
            quality=qualities[place],
            speed=speeds[place],
            memory=memories[place],
            score=0.0 if prefer is None else leaders.score(place, basis, prefer),
        )
        for place, each in enumerate(candidates)
    ]
    return sorted(ranked, key=_key)


def _key(ranked: Ranked) -> tuple[object, ...]:
    each = ranked.candidate
    speed = speed_of(each)
    return (
        -round(ranked.score, 9),
        ranked.quality,
        ranked.speed,
        ranked.memory,
        each.n_threads + each.n_threads_batch,
        -(speed.middle if speed else 0.0),
        each.bpw,
        each.cell_key,
    )


def _lower_is_better(span: Span | None, *, inverted: bool = False) -> Span | None:
    return Span(-span.middle, -span.hi, -span.lo) if span and inverted else span


def _classes(spans: Sequence[Span | None]) -> list[int]:
    """Number the classes of spans, the lowest first; what was not measured is the last."""
    order = sorted(range(len(spans)), key=lambda place: _middle(spans[place]))
    numbers = [0] * len(spans)
    number, leader = -1, None
    for place in order:
        span = spans[place]
        if number < 0 or span is None or leader is None or not span.overlaps(leader):
            if not (number >= 0 and span is None and leader is None):
                number += 1
            leader = span
        numbers[place] = number
    return numbers


def _middle(span: Span | None) -> float:
    return math.inf if span is None else span.middle


class _Leaders:
    """The figure of each class's best, which stands for all in it."""

    def __init__(self, candidates: Sequence[Candidate], speeds: Sequence[int], memories: Sequence[int]) -> None:
        self._candidates, self._speeds, self._memories = candidates, speeds, memories
        self._speed = _best(candidates, speeds, speed_of, max)
        self._memory = _best(candidates, memories, lambda each: each.memory_bytes, min)

    def score(self, place: int, basis: str, prefer: Prefer) -> float:
        """Give the logarithm of the product of shares."""
        each = self._candidates[place]
        speed, memory = self._speed.get(self._speeds[place]), self._memory.get(self._memories[place])
        parts = [
            (prefer.speed, math.log(speed / max(self._speed.values())) if speed else -math.inf),
            (prefer.memory, math.log(min(self._memory.values()) / memory) if memory else -math.inf),
            (prefer.quality, quality_share_log(each, basis)),
        ]
        return sum(weight * value for weight, value in parts if weight)


def quality_share_log(candidate: Candidate, basis: str) -> float:
    """Give the logarithm of the quality's share, as the module says."""
    lost = (candidate.kld or 0.0) / KLD_HALF if basis == "kld" else 2 ** (BPW_HALF - candidate.bpw)
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
        if span and span.middle > 0:
            found[number] = better(found.get(number, span.middle), span.middle)
    return found
