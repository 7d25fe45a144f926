"""Why a candidate was chosen, and how others compare with it: sentences from ranks and figures."""

from collections.abc import Sequence

from profiler.analysis.stats import INTERVAL_ROUNDS
from profiler.recommend.limits import limits_text
from profiler.recommend.rank import Ranked
from profiler.recommend.records import FASTEST, Candidate, Criteria, Limits, Prefer
from profiler.records.span import Span
from profiler.tables.format import listed
from quant.base.units import format_bytes

_MOST_NAMES = 4  # in a sentence
_VISIBLE = 0.02  # a smaller change of prefill is not worth a word


def reason_of(ranked: Sequence[Ranked], basis: str, criteria: Criteria, *, some_flagged: bool = False) -> str:
    """Return why the first of the ranked comes first; `some_flagged`: others were excluded for their flags."""
    best, among = ranked[0], _among(len(ranked), criteria.limits, "unflagged " if some_flagged else "")
    if len(ranked) == 1:
        return f"it is {among}"
    if criteria.order == FASTEST:
        return f"it has the fastest decode {among}"
    if criteria.order is not None:
        return f"it has the best product of {weights_text(criteria.order)} {among}: {_shares(ranked, basis)}"
    alike = [each for each in ranked if each.quality == best.quality]
    fast = [each for each in alike if each.speed == best.speed]
    if len(fast) == 1:
        then = "is the fastest"
    else:
        others = listed([each.candidate.name for each in fast[1:]], _MOST_NAMES)
        then = f"is tied in speed with {others} ({_ends(fast)} overlap): of these it {_last(fast)}"
    if len(alike) == len(ranked):
        return f"it {then}, {among}, which are equal in quality"
    lead = f"it {_quality(best.candidate, basis)} {among}"
    if len(alike) == 1:
        return lead
    return f"{lead}, and of the {len(alike)} cells of that quality it {then}"


def _ends(tied: Sequence[Ranked]) -> str:
    """Return what overlaps: below six rounds there are no intervals."""
    return "intervals" if all(each.candidate.rounds >= INTERVAL_ROUNDS for each in tied) else "ranges"


def _among(count: int, limits: Limits, kind: str) -> str:
    text = limits_text(limits)
    if count == 1:
        return f"the only {kind}cell that meets {text}" if text else f"the only {kind}cell"
    return f"among the {count} {kind}cells " + (f"that meet {text}" if text else "(no limit given)")


def _quality(candidate: Candidate, basis: str) -> str:
    if basis == "kld":
        return f"has the lowest KLD from the unquantized model ({kld_text(candidate)})"
    return f"has the most bits per weight ({candidate.bpw:.2f}; quality was not measured for all)"


def _last(tied: Sequence[Ranked]) -> str:
    best = tied[0]
    small = [each for each in tied if each.memory == best.memory]
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
        if chosen.speed.overlaps(other.speed):
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
