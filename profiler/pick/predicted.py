"""What predicted speeds say before anything is made: who is out of reach, and who is tried first.

A prediction only drops what its whole range speaks against: an entry that misses a limit, or a thread count that is
slower than another of the same level.
"""

from collections.abc import Mapping, Sequence

import msgspec

from profiler.pick.candidates import Candidates, Dropped
from profiler.pick.records import Entry
from profiler.predict.speed import Speeds
from profiler.recommend.records import Limits


def with_predictions(candidates: Candidates, speeds: Mapping[str, Speeds], limits: Limits) -> Candidates:
    """Return the candidates that are not out of reach, the fastest levels first.

    Args:
        speeds: by the entry's key; of entries without a prediction nothing is said.
    """
    known = [
        msgspec.structs.replace(each, predicted_tps=speeds[each.key].decode_tps.value) if each.key in speeds else each
        for each in candidates.entries
    ]
    out = {
        each.key: why
        for each in known
        if each.key in speeds
        and (why := _why_out(each, [one for one in known if one.level == each.level], speeds, limits))
    }
    racing = [each for each in known if each.key not in out]
    fastest: dict[str, float] = {}
    for each in racing:
        fastest[each.level] = max(fastest.get(each.level, 0.0), each.predicted_tps or 0.0)
    racing.sort(key=lambda each: -fastest[each.level])  # stable: thread counts stay in their order
    there = set(fastest)
    gone = {each.level: (each, out[each.key]) for each in reversed(known) if each.level not in there}
    dropped = [
        Dropped(level=level, why=why, file_bytes=each.file_bytes, memory_bytes=each.memory_bytes)
        for level, (each, why) in reversed(gone.items())
    ]
    return msgspec.structs.replace(candidates, entries=tuple(racing), dropped=(*candidates.dropped, *dropped))


def _why_out(entry: Entry, of_level: Sequence[Entry], speeds: Mapping[str, Speeds], limits: Limits) -> str | None:
    own = speeds[entry.key]
    for name, span, least in (
        ("decode", own.decode_tps, limits.min_decode_tps),
        ("prefill", own.prefill_tps, limits.min_prefill_tps),
    ):
        if least is not None and span.hi < least:
            return f"{name} ~{span.value:.3g} t/s is predicted, at most {span.hi:.3g}; {least:g} are required"
    most = limits.max_ttft_ms
    if most is not None and own.ttft_ms is not None and own.ttft_ms.lo > most:
        return f"a TTFT of ~{own.ttft_ms.value:.3g} ms is predicted, at least {own.ttft_ms.lo:.3g}; limit {most:g} ms"
    others = [speeds[each.key] for each in of_level if each.key in speeds]
    if any(_is_slower(own, other) for other in others):
        return "another number of threads is predicted to be faster"
    return None


def _is_slower(one: Speeds, other: Speeds) -> bool:
    """Return whether both rates are lower, by more than the ranges."""
    return one.decode_tps.hi < other.decode_tps.lo and one.prefill_tps.hi < other.prefill_tps.lo
