"""Why a candidate was chosen, and how others compare with it: sentences from ranks and figures."""

import math
from collections.abc import Sequence

from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.recommend.limits import limits_text
from profiler.recommend.rank import Ranked
from profiler.recommend.records import Candidate, Criteria, Limits, Prefer
from profiler.recommend.rule import MAX_KLD, MIN_BPW
from profiler.records.span import Span
from profiler.tables.format import figure, listed
from quant.base.units import format_bytes

_MOST_NAMES = 4  # in a sentence
_VISIBLE = 0.02  # a smaller change of prefill is not worth a word


def reason_of(ranked: Sequence[Ranked], basis: str, criteria: Criteria, *, no_bar: bool = False) -> str:
    """Return why the first of the ranked comes first; `no_bar`: none has the quality that a choice by speed needs."""
    best, among = ranked[0], _among(ranked, criteria.limits)
    if no_bar:
        among += f", none of which has a KLD of at most {MAX_KLD:g} or {MIN_BPW:g} bits per weight"
    if len(ranked) == 1:
        return f"it is {among}"
    if criteria.order is not None:
        return f"it has the best product of {weights_text(criteria.order)} {among}: {_shares(ranked, basis)}"
    if best.by_speed:
        return f"it {_speed(ranked)}, {among}"
    alike = [each for each in ranked if each.quality == best.quality]
    then = _speed(alike)
    if len(alike) == len(ranked):
        return f"it {then}, {among}, which are equal in quality"
    lead = f"it {_quality(best.candidate, basis)} {among}"
    if len(alike) == 1:
        return lead
    return f"{lead}, and of the {len(alike)} cells of that quality it {then}"


def _speed(alike: Sequence[Ranked]) -> str:
    """Return how the first of some candidates leads in speed, or by what it leads those that tie with it."""
    fast = [each for each in alike if each.speed == alike[0].speed]
    if len(fast) == 1:
        return "is the fastest"
    others = listed([each.candidate.name for each in fast[1:]], _MOST_NAMES)
    is_widened = any(each.candidate.reaches for each in fast)
    ends = f"{_ends(fast)}{', widened for what disturbed cells,' if is_widened else ''} overlap"
    return f"is tied in speed with {others} ({ends}): of these it {_last(fast)}"


def disturbed_of(ranked: Sequence[Ranked]) -> tuple[str, ...]:
    """Return how a choice rests on intervals that allow for disturbances."""
    if not ranked:
        return ()
    best, lines = ranked[0].candidate, []
    if best.reaches is not None and (within := best.speed_within) is not None:
        rate = "decode" if best.decode_tps else "prefill"
        lo, hi = figure(within.lo), figure(within.hi)
        span = f"{lo} t/s or more" if math.isinf(within.hi) else f"{lo} to {hi} t/s"
        lines.append(
            f"the choice rests on widened intervals: it was measured while disturbed ({', '.join(best.flags)}); "
            f"undisturbed, its {rate} is {span}"
        )
    rivals = [
        each.candidate
        for each in ranked[1:]
        if each.candidate.reaches is not None and _may_be_faster(each.candidate, best)
    ]
    if rivals:
        names = listed([f"{each.name} ({', '.join(each.flags)})" for each in rivals], _MOST_NAMES)
        lines.append(
            f"slower as measured, and perhaps faster undisturbed: {names}; re-measure on an idle machine to be sure"
        )
    return tuple(lines)


def _may_be_faster(other: Candidate, best: Candidate) -> bool:
    """Return whether only the disturbance of another candidate keeps it from being surely slower."""
    within, speed = other.speed_within, other.speed
    if within is None or speed is None or best.speed is None:
        return False
    return within.hi >= best.speed.lo > speed.hi


def _ends(tied: Sequence[Ranked]) -> str:
    """Return what overlaps: below six rounds there are no intervals."""
    return "intervals" if all(each.candidate.rounds >= INTERVAL_ROUNDS for each in tied) else "ranges"


def _among(ranked: Sequence[Ranked], limits: Limits) -> str:
    text, count = limits_text(limits), len(ranked)
    if ranked[0].by_speed and not limits.bounds_quality:
        bar = bar_in_words(any(each.candidate.kld is not None for each in ranked), _some_unknown(ranked))
        return f"the only cell {bar}" if count == 1 else f"among the {count} cells {bar}"
    if count == 1:
        return f"the only cell that meets {text}" if text else "the only cell"
    return f"among the {count} cells " + (f"that meet {text}" if text else "(no limit given)")


def _some_unknown(ranked: Sequence[Ranked]) -> bool:
    return any(each.candidate.kld is None for each in ranked)


def bar_in_words(some_known: bool, some_unknown: bool) -> str:
    """Return the quality that a choice by speed has at least, by what is known of the cells."""
    kld = f"whose KLD is at most {MAX_KLD:g}"
    bits = f"of at least {MIN_BPW:g} bits per weight (quality was not measured)"
    if some_known and some_unknown:
        return f"{kld}, or {bits}"
    return kld if some_known else bits


def _quality(candidate: Candidate, basis: str) -> str:
    if basis == "kld":
        return f"has the lowest KLD ({kld_text(candidate)})"
    return f"has the most bits per weight ({candidate.bpw:.2f}; quality was not measured for all)"


def _last(tied: Sequence[Ranked]) -> str:
    best = tied[0]
    fast = [each for each in tied if each.measured == best.measured]
    if len(fast) == 1:
        return "is the fastest as measured"
    fine = [each for each in fast if each.quality == best.quality]
    if len(fine) == 1:
        return "has the best quality"
    small = [each for each in fine if each.memory == best.memory]
    if len(small) == 1:
        return "needs the least memory"
    threads = best.candidate.n_threads + best.candidate.n_threads_batch
    if all(threads < each.candidate.n_threads + each.candidate.n_threads_batch for each in small[1:]):
        return "uses the fewest threads"
    return "has the highest median"


def _shares(ranked: Sequence[Ranked], basis: str) -> str:
    best = ranked[0].candidate
    parts = []
    speed, fastest = (
        best.speed,
        max((span.value for each in ranked if (span := each.candidate.speed)), default=0),
    )
    if speed and fastest:
        parts.append(f"{speed.value / fastest:.0%} of the fastest's speed")
    smallest = min((span.value for each in ranked if (span := each.candidate.memory_bytes)), default=0)
    if best.memory_bytes and smallest:
        parts.append(f"{best.memory_bytes.value / smallest:.2f} times the smallest's memory")
    if basis == "kld":
        parts.append(f"KLD {kld_text(best)}")
    else:
        parts.append(f"{best.bpw:.2f} bits per weight (quality was not measured for all)")
    return ", ".join(parts)


def weights_text(prefer: Prefer) -> str:
    """Return the criteria with their weights, as typed."""
    return ", ".join(f"{name}={value:g}" for name in Prefer.__struct_fields__ if (value := getattr(prefer, name)))


def kld_text(candidate: Candidate) -> str:
    """Return the KLD with its standard error."""
    error = f" ± {candidate.kld_se:.2g}" if candidate.kld_se is not None else ""
    return f"{candidate.kld:.3g}{error}"


def against(other: Candidate, chosen: Candidate) -> str:
    """Return how another candidate compares with the choice."""
    parts = []
    if chosen.speed and other.speed:
        rate = "decode" if chosen.decode_tps and other.decode_tps else "prefill"
        if chosen.speed_within and other.speed_within and chosen.speed_within.overlaps(other.speed_within):
            parts.append(f"a tie in {rate}")
        else:
            parts.append(_faster(rate, other.speed, chosen.speed))
        if rate == "decode" and other.prefill_tps and chosen.prefill_tps:
            change = other.prefill_tps.value / chosen.prefill_tps.value - 1
            parts += [_faster("prefill", other.prefill_tps, chosen.prefill_tps)] if abs(change) >= _VISIBLE else []
    if chosen.memory_bytes and other.memory_bytes:
        more = other.memory_bytes.value - chosen.memory_bytes.value
        parts.append(
            f"{format_bytes(abs(more))} {'more' if more > 0 else 'less'} memory" if more else "the same memory"
        )
    if other.kld is not None and chosen.kld is not None:
        parts.append(f"KLD {kld_text(other)} against {kld_text(chosen)}")
    elif round(other.bpw - chosen.bpw, 2):
        parts.append(f"{other.bpw:.2f} bits per weight against {chosen.bpw:.2f}")
    return ", ".join(parts)


def _faster(rate: str, other: Span, chosen: Span) -> str:
    change = other.value / chosen.value - 1
    return f"{rate} {abs(change):.0%} {'faster' if change > 0 else 'slower'}"
