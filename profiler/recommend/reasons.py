"""Why a candidate was chosen, and how others stand against it: plain sentences from ranks and figures."""

from collections.abc import Sequence

from profiler.recommend.candidates import name_of
from profiler.recommend.limits import words
from profiler.recommend.rank import Ranked, speed_of
from profiler.recommend.records import Candidate, Limits, Prefer
from quant.base.units import format_bytes

_MOST_NAMES = 4  # in a sentence
_INTERVAL_ROUNDS = 6


def reason_of(
    ranked: Sequence[Ranked], basis: str, limits: Limits, prefer: Prefer | None, *, some_flagged: bool = False
) -> str:
    """Say in a sentence why the first of the ranked comes first; `some_flagged`: others were barred by their flags."""
    best, among = ranked[0], _among(len(ranked), limits, "unflagged " if some_flagged else "")
    if len(ranked) == 1:
        return f"it is {among}"
    if prefer is not None:
        return f"it has the best product of {weights(prefer)} {among}: {_shares(ranked, basis)}"
    alike = [each for each in ranked if each.quality == best.quality]
    fast = [each for each in alike if each.speed == best.speed]
    if len(fast) == 1:
        then = "is the fastest"
    else:
        then = (
            f"ties in speed with {names(fast[1:])}, whose {_ends(fast)} overlap with its own: of these it {_last(fast)}"
        )
    if len(alike) == len(ranked):
        return f"it {then}, {among}, which are equal in quality"
    lead = f"it {_quality(best.candidate, basis)} {among}"
    if len(alike) == 1:
        return lead
    return f"{lead}, and of the {len(alike)} cells of that quality it {then}"


def _ends(tied: Sequence[Ranked]) -> str:
    """Name what overlaps: under six rounds there are no intervals."""
    return "intervals" if all(each.candidate.rounds >= _INTERVAL_ROUNDS for each in tied) else "ranges"


def _among(count: int, limits: Limits, kind: str) -> str:
    told = words(limits)
    if count == 1:
        return f"the only {kind}cell that keeps {told}" if told else f"the only {kind}cell"
    return f"among the {count} {kind}cells " + (f"that keep {told}" if told else "(no limit is given)")


def _quality(candidate: Candidate, basis: str) -> str:
    if basis == "kld":
        return f"diverges the least from the unquantized model (KLD {kld(candidate)})"
    return f"has the most bits per weight ({candidate.bpw:.2f}, which stand in for quality: none is measured)"


def _last(tied: Sequence[Ranked]) -> str:
    best = tied[0]
    small = [each for each in tied if each.memory == best.memory]
    if len(small) == 1:
        return "needs the least memory"
    threads = best.candidate.n_threads + best.candidate.n_threads_batch
    if all(threads < each.candidate.n_threads + each.candidate.n_threads_batch for each in small[1:]):
        return "takes the fewest threads"
    return "has the highest median"


def _shares(ranked: Sequence[Ranked], basis: str) -> str:
    best = ranked[0].candidate
    parts = []
    speed, fastest = (
        speed_of(best),
        max((span.value for each in ranked if (span := speed_of(each.candidate))), default=0),
    )
    if speed and fastest:
        parts.append(f"{speed.value / fastest:.0%} of the fastest's speed")
    smallest = min((span.value for each in ranked if (span := each.candidate.memory_bytes)), default=0)
    if best.memory_bytes and smallest:
        parts.append(f"{best.memory_bytes.value / smallest:.2f} times the smallest's memory")
    if basis == "kld":
        parts.append(f"KLD {kld(best)}")
    else:
        parts.append(f"{best.bpw:.2f} bits per weight, which stand in for quality: none is measured")
    return ", ".join(parts)


def weights(prefer: Prefer) -> str:
    """Name the criteria with their weights, as typed."""
    return ", ".join(f"{name}={value:g}" for name in Prefer.__struct_fields__ if (value := getattr(prefer, name)))


def kld(candidate: Candidate) -> str:
    """Write a divergence with its standard error."""
    error = f" ± {candidate.kld_se:.2g}" if candidate.kld_se else ""
    return f"{candidate.kld:.3g}{error}"


def names(ranked: Sequence[Ranked]) -> str:
    """Join the names of a few."""
    told = [name_of(each.candidate) for each in ranked]
    if len(told) > _MOST_NAMES:
        told = [*told[: _MOST_NAMES - 1], f"{len(told) - _MOST_NAMES + 1} more"]
    return told[0] if len(told) == 1 else f"{', '.join(told[:-1])} and {told[-1]}"


def against(other: Candidate, chosen: Candidate, basis: str) -> str:
    """Say how a candidate that fits as well stands against the choice."""
    parts = []
    mine, its = speed_of(chosen), speed_of(other)
    if mine and its:
        if mine.overlaps(its):
            parts.append("tied in speed")
        else:
            ratio = its.value / mine.value
            parts.append(f"{abs(ratio - 1):.0%} {'faster' if ratio > 1 else 'slower'}")
    if chosen.memory_bytes and other.memory_bytes:
        more = other.memory_bytes.value - chosen.memory_bytes.value
        parts.append(
            f"{format_bytes(abs(more))} {'more' if more > 0 else 'less'} memory" if more else "the same memory"
        )
    if basis == "kld":
        parts.append(f"KLD {kld(other)}")
    elif bits := round(other.bpw - chosen.bpw, 2):
        parts.append(f"{abs(bits):.2f} bits per weight {'more' if bits > 0 else 'less'}")
    return ", ".join(parts)
