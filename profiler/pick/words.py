"""The race in words: why an entry is out, and why the choice is the choice."""

import math
from collections.abc import Sequence

from profiler.pick.odds import Odds
from profiler.pick.quality import Qualities
from profiler.pick.records import EliminatedBy, Elimination, Entry, Standing
from profiler.recommend.records import Limits
from profiler.recommend.rule import Bar
from quant.base.units import format_bytes

_Z_95 = 1.96


def inadmissible(entry: Entry, limits: Limits, qualities: Qualities) -> tuple[EliminatedBy, str] | None:
    """Return why an entry cannot be the choice, whatever would be measured; None where it can."""
    if limits.max_file_bytes is not None and entry.file_bytes > limits.max_file_bytes:
        return "limit", f"file of {format_bytes(entry.file_bytes)}, limit {format_bytes(limits.max_file_bytes)}"
    most = limits.max_memory_bytes
    if most is not None and entry.memory_bytes is not None and entry.memory_bytes > most:
        return "memory", f"needs about {format_bytes(entry.memory_bytes)}, limit {format_bytes(most)}"
    if qualities.meets_bar(entry.level) == 0.0:
        return "quality", f"{entry.bpw:.2f} bits per weight, {qualities.bar.min_bpw:g} are needed"
    return None


def why_beaten(odds: Odds, place: int, choice: int | None) -> tuple[EliminatedBy, str]:
    """Return why an entry will not be the choice, from what was measured."""
    entry = odds.entries[place]
    if odds.bar[place] < float(odds.rates_reached(odds.tie)[place]):
        found = odds.qualities.scored.get(entry.level)
        if found is not None and odds.qualities.bar.max_kld is not None and odds.bar[place] < _SMALL:
            most = odds.qualities.bar.max_kld
            return "quality", f"KLD {found.kld:.3g} after {found.n_windows} windows, limit {most:g}"
    if not odds.memory[place]:
        return "memory", f"used {format_bytes(odds.known.memory_bytes[place] or 0)}"
    if float(odds.rates_reached(odds.tie)[place]) < _SMALL:
        fit, least = min(odds.known.rates, key=lambda rate: float(rate[0].beyond(rate[1])[place]))
        share = math.exp(float(fit.mean[place]) - least)
        return "limit", f"reaches {share:.0%} of the required rate{_unmeasured(odds, place)}"
    assert choice is not None
    other = odds.entries[choice]
    if odds.by_quality and odds.qualities.better(other.level, entry.level) > 1 - _SMALL:
        return "quality", f"{other.level} meets the limits with a better quality"
    lead = 1 - math.exp(odds.expected_speed(place) - odds.expected_speed(choice))
    slower = f"{lead:.0%} slower than" if lead > 0 else "no faster than"
    text = f"{slower} {other.key}{_unmeasured(odds, place)}"
    return ("threads" if other.level == entry.level else "speed"), text


_SMALL = 0.05  # above half of the error, at which an entry is out


def _unmeasured(odds: Odds, place: int) -> str:
    return "" if odds.known.n_rounds[place] else ", by the threads of other levels"


def reason_of(odds: Odds, choice: int | None, out: Sequence[Elimination], *, tied: Sequence[str], decided: bool) -> str:
    """Return why the choice is the choice, without a full stop."""
    bar = odds.qualities.bar
    if choice is None:
        if not decided:
            return "nothing that was measured meets the limits so far"
        if all(each.by in ("failure", "absent") for each in out):
            return "nothing could be measured"
        return "nothing meets the limits" if odds.by_quality or bar == Bar() else f"nothing has {_bar_text(bar)}"
    text = "the best quality that meets the limits" if odds.by_quality else f"the fastest {_bar_text(bar, 'with ')}"
    if tied:
        text += f", in a tie with {', '.join(tied)}"
    return text if decided else f"{text}, as far as measured"


def _bar_text(bar: Bar, before: str = "") -> str:
    """Return the least quality in words, behind others; of limits on accuracy alone, that they are met."""
    if bar == Bar():
        return "that meets the limits"
    if bar.max_kld is not None:
        return f"{before}a KLD of at most {bar.max_kld:g}"
    return f"{before}at least {bar.min_bpw:g} bits per weight"


def standings_of(odds: Odds, n_disturbed: Sequence[int]) -> tuple[Standing, ...]:
    """Return the measured entries' speeds relative to the fastest's, with 95 % intervals, the fastest first."""
    measured = [place for place, n in enumerate(odds.known.n_rounds) if n]
    measured.sort(key=lambda place: (-odds.expected_speed(place), place))
    found = []
    for place in measured:
        difference = odds.expected_speed(place) - odds.expected_speed(measured[0])
        reach = 0.0 if place == measured[0] else _Z_95 * float(odds.known.speed.spread_from(measured[0])[place])
        found.append(
            Standing(
                key=odds.entries[place].key,
                n_rounds=odds.known.n_rounds[place],
                n_disturbed=n_disturbed[place],
                relative=math.exp(difference),
                lo=math.exp(difference - reach),
                hi=math.exp(difference + reach),
            )
        )
    return tuple(found)
