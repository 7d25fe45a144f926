"""What is wrong with a cell's figures: named warnings, each with the fact, the likely cause and a fix to try.

What disturbed single rounds from outside (disturbance.py) is compared with the cell's quiet rounds. It is a flag where
it moved a median, or where fewer than two rounds were quiet, so that nothing shows whether it did; else it is a note.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from profiler.analysis.disturbance import (
    Pairs,
    best_mhz_of,
    disturbances_of,
    foreign_of,
    pages_read,
    pairs_of,
    swapping_of,
    throttling_of,
)
from profiler.analysis.rates import Rates, rates_of
from profiler.analysis.stats import median, quantile
from profiler.analysis.threads_ran import STARVED_SHARE, cpus_allowed, cpus_got, holding_back
from profiler.analysis.trend import LEAST_CHANGE, find_trend
from profiler.records.environment import Environment
from profiler.records.round import Round
from quant.base.text import counted

FLAGS = ("throttled", "drifting", "swapping", "noisy", "busy", "paging", "oversubscribed", "starved", "ignored")

# An interquartile range above this share of the median hides the differences between levels.
_NOISE = 0.10
# Disturbed rounds that lower a median by less leave the figure as it is; `pick` takes as much for a tie.
_MOVED = 0.02
_FEWEST_QUIET = 2  # rounds to compare with
# Anonymous memory of which some is in huge pages where they are in effect: one page has 2 MiB on most systems.
_MUCH_BYTES = 256 << 20


class Warning(msgspec.Struct, frozen=True, gc=False):  # noqa: A001  the word that people search for
    """One disturbance."""

    name: str
    message: str


class Findings(NamedTuple):
    """What is wrong with a cell, and what disturbed some of its rounds without moving its figures."""

    flags: list[Warning]  # in the order of FLAGS
    notes: list[Warning]


def flags_of(rounds: Sequence[Round], environment: Environment | None) -> list[Warning]:
    """Check the rounds of one cell that went well, in the order of FLAGS."""
    return findings_of(rounds, environment).flags


def findings_of(
    rounds: Sequence[Round], environment: Environment | None, rates: Sequence[Rates] | None = None
) -> Findings:
    """Check the rounds of one cell that went well; `rates` are theirs where they are known."""
    if not rounds:
        return Findings([], [])
    valued = sorted(
        zip(rounds, rates or map(rates_of, rounds), strict=True),
        key=lambda each: each[0].order,
    )
    seen = _Seen([record for record, _ in valued], [each for _, each in valued], environment)
    found = [warning for check in _CHECKS if (warning := check(seen)) is not None]
    outside = _outside(seen)
    if outside.is_flag:
        found += outside.warnings
    # Of two of one name, as a limit that the system and drift control both saw, the first has both facts.
    flags = {warning.name: warning for warning in reversed(found)}
    return Findings(
        [flags[name] for name in FLAGS if name in flags],
        [] if outside.is_flag else [warning for warning in outside.warnings if warning.name not in flags],
    )


class _Seen(NamedTuple):
    """What the checks look at, in the order of time."""

    rounds: Sequence[Round]
    rates: Sequence[Rates]
    environment: Environment | None


class _Outside(NamedTuple):
    """What disturbed single rounds, and whether that moved a figure or nothing shows that it did not."""

    warnings: list[Warning]
    is_flag: bool


def _outside(seen: _Seen) -> _Outside:
    best = best_mhz_of(seen.rounds)
    names = [disturbances_of(record, best) for record in seen.rounds]
    if not any(names):
        return _Outside([], is_flag=False)
    quiet = [
        each
        for record, found, each in zip(seen.rounds, names, seen.rates, strict=True)
        if not found and record.doubt is None
    ]
    is_flag, effect = _effect(seen.rates, quiet)
    warnings = []
    for name, (fact_of, fix) in _OUTSIDE.items():
        concerned = [record for record, found in zip(seen.rounds, names, strict=True) if name in found]
        if concerned:
            share = f" in {len(concerned)} of {len(names)} rounds" if len(concerned) < len(names) else ""
            end = f"; {fix}" if is_flag else ""
            warnings.append(Warning(name, f"{fact_of(concerned, best)}{share}{effect}{end}"))
    return _Outside(warnings, is_flag)


def _effect(rates: Sequence[Rates], quiet: Sequence[Rates]) -> tuple[bool, str]:
    """Return whether the disturbed rounds lowered a median, or cannot be compared, and that in words."""
    if len(quiet) < _FEWEST_QUIET:
        return True, ""
    changes = {}
    for name in ("prefill", "decode"):
        everyone, still = (
            [value for each in some if (value := getattr(each, name)) is not None] for some in (rates, quiet)
        )
        if still:
            changes[name] = 1 - median(everyone) / median(still)
    name = max(changes, key=lambda each: changes[each], default="")
    if name and changes[name] > _MOVED:
        return True, f", which lowered the median {name} by {changes[name]:.0%}"
    return False, f"; the medians are those of the {len(quiet)} quiet rounds within {_MOVED:.0%}"


def _throttling(rounds: Sequence[Round], best_mhz: float | None) -> str:
    return throttling_of(rounds, best_mhz) or ""


def _swapping(rounds: Sequence[Round], best_mhz: float | None) -> str:
    return f"{swapping_of(rounds)}, since memory is short"


def _busy(rounds: Sequence[Round], best_mhz: float | None) -> str:
    foreign = foreign_of(rounds)
    if foreign is None:  # each of the rounds has some
        return "other programs used the CPU"
    stolen = f", {foreign.stolen:.0%} stolen by the host" if foreign.stolen else ""
    return f"other programs used {foreign.cpus:.0%} of one CPU{stolen}"


def _paging(rounds: Sequence[Round], best_mhz: float | None) -> str:
    return f"{pages_read(rounds)} pages were read from disk during the measurement"


_COOL = "cool the device, use a stronger power supply, or rest between rounds with --cooldown 30s"
# What disturbs single rounds: its fact, from the rounds concerned and the cell's best clock, and the fix.
_OUTSIDE: dict[str, tuple[Callable[[Sequence[Round], float | None], str], str]] = {
    "throttled": (_throttling, _COOL),
    "swapping": (_swapping, "close programs or lower --n-ctx"),
    "busy": (_busy, "top names them; close them and re-measure"),
    "paging": (
        _paging,
        "the weights do not stay in memory; close programs, choose a smaller level, or use --load-mode mlock",
    ),
}


def _throttled(seen: _Seen) -> Warning | None:
    """Warn of rounds that drift control marked, whatever the quiet ones are."""
    suspect = _suspect(seen.rounds, "throttled", _COOL)
    fact = throttling_of(seen.rounds)
    return Warning("throttled", f"{fact}, and {suspect.message}") if fact and suspect else suspect


def _suspect(rounds: Sequence[Round], name: str, fix: str) -> Warning | None:
    """Warn of rounds that drift control marked as suspect."""
    marks = [record.doubt for record in rounds if record.doubt is not None and record.doubt.name == name]
    if not marks:
        return None
    return Warning(
        name,
        f"{marks[-1].message}, which concerns {len(marks)} of {len(rounds)} rounds; {fix}; "
        "the same command re-measures them",
    )


def _changed(pairs: Pairs) -> str | None:
    """Return what was switched between two repetitions: the power source or the governor."""
    seen = [conditions for pair in zip(*pairs, strict=True) for conditions in pair]
    if len({each.on_battery for each in seen if each.on_battery is not None}) > 1:
        n_battery = sum(each.on_battery is True for each in seen)
        return f"{n_battery} of {len(seen)} readings were taken on battery, the others not; keep the charger plugged in"
    if len(governors := {each.governor for each in seen if each.governor is not None}) > 1:
        return f"the governor changed between {' and '.join(sorted(governors))}; set one, see slmprof doctor"
    return None


def _drifting(seen: _Seen) -> Warning | None:
    fix = "let the device cool down, close programs, or rest between rounds with --cooldown 30s"
    if suspect := _suspect(seen.rounds, "drifting", fix):
        return suspect
    if changed := _changed(pairs_of(seen.rounds)):
        return Warning("drifting", changed)
    prefill, decode = [each.prefill_each for each in seen.rates], [each.decode_each for each in seen.rates]
    for name, rates in (("prefill", prefill), ("decode", decode)):
        trend = find_trend(rates, least_change=LEAST_CHANGE)
        if trend and trend.counts:
            word = "fell" if trend.change < 0 else "rose"
            return Warning(
                "drifting",
                f"{name} {word} by {abs(trend.change):.0%} from the first round to the last; "
                "the device warms up or its load changes: try --cooldown 30s",
            )
    return None


def _noisy(seen: _Seen) -> Warning | None:
    prefill, decode = [each.prefill for each in seen.rates], [each.decode for each in seen.rates]
    for name, found in (("prefill", prefill), ("decode", decode)):
        values = [value for value in found if value is not None]
        if len(values) < 4:
            continue
        spread = (quantile(values, 0.75) - quantile(values, 0.25)) / median(values)
        if spread > _NOISE:
            return Warning(
                "noisy",
                f"the interquartile range of the rounds' {name} rates is {spread:.0%} of the median: other programs or "
                "a changing clock disturb them; close programs, or raise --rounds",
            )
    return None


def _oversubscribed(seen: _Seen) -> Warning | None:
    environment = seen.environment
    if environment is None:
        return None
    config = seen.rounds[0].cell.config
    threads = max(config.n_threads, config.n_threads_batch)
    usable: float = environment.cores_physical
    what = counted(usable, "physical core")
    if environment.affinity is not None:
        what += " that this process may use"
    if environment.affinity is not None and len(environment.affinity) < usable:
        usable = len(environment.affinity)
        what = f"{counted(usable, 'CPU')} that this process may use"
    if config.cores is not None and (n_cores := _cores_behind(seen.rounds, config.cores)) < usable:
        usable = n_cores
        what = f"{counted(usable, 'core')} chosen with --cores"
    if environment.cpu_quota is not None and environment.cpu_quota < usable:
        usable = environment.cpu_quota
        what = f"a limit of {counted(usable, 'CPU')}"
    if threads > usable:
        fix = "use fewer with -t" if threads > 1 else "raise the container's limit"
        return Warning("oversubscribed", f"{counted(threads, 'thread')} on {what} must wait for a turn; {fix}")
    return None


def _cores_behind(rounds: Sequence[Round], cpus: Sequence[int]) -> int:
    """Return the physical cores behind the CPUs of --cores; older records do not have their number."""
    known = [record.in_force.n_cores for record in rounds if record.in_force and record.in_force.n_cores]
    return known[0] if known else len(cpus)


def _starved(seen: _Seen) -> Warning | None:
    got = cpus_got(seen.rounds)
    config = seen.rounds[0].cell.config
    if got is None or got.cpus >= STARVED_SHARE * min(got.threads, cpus_allowed(seen.environment, config)):
        return None
    n_threads = max(config.n_threads, config.n_threads_batch)
    if variables := holding_back(seen.environment, n_threads):
        listed = ", ".join(f"{name}={value}" for name, value in variables.items())
        cause = f"{listed} {'holds' if len(variables) == 1 else 'hold'} them back; unset {' '.join(variables)}"
    elif foreign_of(seen.rounds):
        cause = "other programs took the rest; close them and re-measure"
    else:
        cause = "other programs, a limit that is not visible here, or a pause of the process; re-measure"
    threads = round(got.threads, 1)
    counted_threads = counted(int(threads) if threads == int(threads) else threads, "thread")
    return Warning("starved", f"{counted_threads} got {got.cpus:.1f} CPUs: {cause}")


def _ignored(seen: _Seen) -> Warning | None:
    """Warn of settings that were requested and are not in effect."""
    found = [each for record in seen.rounds if record.in_force for each in record.in_force.ignored]
    held = [record.memory["decoded"] for record in seen.rounds if "decoded" in record.memory]
    always = seen.environment is not None and seen.environment.huge_pages == "always"
    if always and held and all(each.huge_bytes == 0 and (each.anon_bytes or 0) > _MUCH_BYTES for each in held):
        found.append(
            "transparent huge pages (always, but this process got none; see prctl and the container's settings)"
        )
    if not found:
        return None
    return Warning("ignored", f"requested and not in effect: {'; '.join(dict.fromkeys(found))}")


_CHECKS: tuple[Callable[[_Seen], Warning | None], ...] = (
    _throttled,
    _drifting,
    _noisy,
    _oversubscribed,
    _starved,
    _ignored,
)
