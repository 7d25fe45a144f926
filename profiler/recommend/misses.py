"""What came near the limits without meeting them, and which limit would have to be relaxed for something to fit."""

import math
from collections.abc import Collection, Mapping, Sequence

from profiler.recommend.limits import may_meet, step, typed
from profiler.recommend.rank import basis_of, rank
from profiler.recommend.records import Candidate, Limits, Miss, NearMiss, Order, Relax
from profiler.tables.format import listed

_MOST_NAMES = 3  # in a sentence

Misses = Mapping[str, tuple[Miss, ...]]  # by cell_key


def near_misses(pool: Sequence[Candidate], missed: Misses, fitting: Collection[str]) -> tuple[NearMiss, ...]:
    """Return the nearest cell of every file that does not fit, the nearest file first; `fitting`: files that do."""

    def distance(each: Candidate) -> tuple[float, float, float, str]:
        found = missed[each.cell_key]
        return len(found), sum(step(miss) for miss in found), -(each.speed.value if each.speed else 0.0), each.cell_key

    nearest: dict[str, Candidate] = {}
    for each in sorted((each for each in pool if each.artifact_sha256 not in fitting), key=distance):
        nearest.setdefault(each.artifact_sha256, each)
    return tuple(
        NearMiss(
            candidate=each,
            misses=missed[each.cell_key],
            text=f"{each.name} {' and '.join(_with_limit(miss) for miss in missed[each.cell_key])}",
        )
        for each in nearest.values()
    )


def _with_limit(miss: Miss) -> str:
    if miss.relaxed is None:
        return miss.needs
    return f"{miss.needs} ({miss.option} {typed(miss, miss.relaxed)})"


def smallest_relaxation(pool: Sequence[Candidate], missed: Misses, order: Order) -> Relax | None:
    """Return the smallest step of one limit that lets something fit; of equal steps that of the better candidate."""
    single = [each for each in pool if len(missed[each.cell_key]) == 1]
    steps = {each.cell_key: step(missed[each.cell_key][0]) for each in single}
    single = [each for each in single if steps[each.cell_key] < math.inf]
    if not single:
        return None
    ordered = [each.candidate for each in rank(single, basis_of(single), order)]
    best = min(ordered, key=lambda each: steps[each.cell_key])  # of equal ones the first
    (miss,) = missed[best.cell_key]
    assert miss.relaxed is not None
    value = typed(miss, miss.relaxed)
    return Relax(
        option=miss.option,
        value=value,
        gives=best,
        text=f"relax {miss.option} from {typed(miss, miss.limit)} to {value}: "
        f"{best.name} {miss.needs} and meets the other limits",
    )


def why_nothing_fits(pool: Sequence[Candidate], limits: Limits, near: Sequence[NearMiss], relax: Relax | None) -> str:
    """Return why there is no choice."""
    if not pool:
        return "no cell was measured successfully; see slmprof show"
    if able := [each for each in pool if may_meet(each, limits)]:
        names = listed([f"{each.name} ({', '.join(each.flags)})" for each in able], _MOST_NAMES)
        return f"no cell surely meets all limits, and undisturbed {names} may: re-measure on an idle machine"
    if relax is not None:
        return "no cell meets all limits"
    if near and all(miss.relaxed is None for miss in near[0].misses):
        return f"no cell meets all limits, and relaxing them does not help: {near[0].text}"
    return f"no cell meets all limits, and relaxing one is not enough; the nearest: {near[0].text}"
