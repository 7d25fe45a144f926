"""What disturbed a cell: named warnings, each with the fact, the likely cause and a fix to try."""

import operator
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from profiler.analysis.rates import Rates, rates_of
from profiler.analysis.stats import median, quantile
from profiler.analysis.threads_ran import STARVED_SHARE, cpus_allowed, cpus_got, holding_back
from profiler.analysis.trend import LEAST_CHANGE, find_trend
from profiler.records.environment import Environment
from profiler.records.round import Conditions, Round
from quant.base.text import counted
from quant.base.units import format_bytes

FLAGS = ("throttled", "drifting", "swapping", "noisy", "busy", "paging", "oversubscribed", "starved", "ignored")

# A clock that falls by a tenth below the cell's own best is a limit, not the governor's jitter.
_CLOCK_DROP = 0.10
# An interquartile range above this share of the median hides the differences between levels.
_NOISE = 0.10
# Other programs took more than a tenth of one CPU during the repetitions.
_FOREIGN_SHARE = 0.10
# The counters of all CPUs tick in hundredths of a second, and their readings err by up to three of them.
_COARSE_NS = 30_000_000
_NS_PER_S = 1e9
_MIN_SWAP_BYTES = 1 << 20
# Anonymous memory of which some is in huge pages where they are in effect: one page has 2 MiB on most systems.
_MUCH_BYTES = 256 << 20


class Warning(msgspec.Struct, frozen=True, gc=False):  # noqa: A001  the word that people search for
    """One disturbance."""

    name: str
    message: str


def flags_of(
    rounds: Sequence[Round], environment: Environment | None, rates: Sequence[Rates] | None = None
) -> list[Warning]:
    """Check the rounds of one cell that went well, in the order of FLAGS; `rates` are theirs where they are known."""
    if not rounds:
        return []
    valued = sorted(
        zip(rounds, rates or map(rates_of, rounds), strict=True),
        key=lambda each: each[0].order,
    )
    seen = _Seen(rounds, _pairs(rounds), [each for _, each in valued], environment)
    found = [check(seen) for check in _CHECKS]
    return [warning for warning in found if warning is not None]


class Pairs(NamedTuple):
    """The conditions before and after each repetition."""

    before: list[Conditions]
    after: list[Conditions]


class _Seen(NamedTuple):
    """What the checks look at."""

    rounds: Sequence[Round]
    pairs: Pairs
    rates: Sequence[Rates]  # in the order of time
    environment: Environment | None


def _pairs(rounds: Sequence[Round]) -> Pairs:
    samples = [sample for record in rounds for sample in record.samples]
    return Pairs([sample.before for sample in samples], [sample.after for sample in samples])


def _seconds(rounds: Sequence[Round]) -> float:
    return sum(sample.timed_ns for record in rounds for sample in record.samples) / _NS_PER_S


def _growth(pairs: Pairs, field: str) -> int | None:
    """Add up what a cumulative counter gained during the repetitions; None where the system does not count."""
    read = operator.attrgetter(field)
    starts, ends = list(map(read, pairs.before)), list(map(read, pairs.after))
    if None in starts or None in ends:
        known = [each for each in zip(starts, ends, strict=True) if None not in each]
        starts, ends = [start for start, _ in known], [end for _, end in known]
    return sum(ends) - sum(starts) if ends else None


def throttling_of(rounds: Sequence[Round]) -> str | None:
    """Return how a limit showed: by the system's flags, the CPU's counter or the clock; None where none did."""
    return _throttling(_pairs(rounds))


def _throttling(pairs: Pairs) -> str | None:
    hit = [
        {*before.throttle, *after.throttle}
        for before, after in zip(*pairs, strict=True)
        if before.throttle or after.throttle
    ]
    if hit:
        raised = ", ".join(sorted(set().union(*hit)))
        return f"the system reports {raised} in {len(hit)} of {len(pairs.after)} repetitions"
    if events := _growth(pairs, "throttle_count"):
        return f"the CPU counted {events} thermal events during the measurement"
    clocks = [after.mhz for after in pairs.after if after.mhz]
    if clocks and min(clocks) < (1 - _CLOCK_DROP) * max(clocks):
        return f"the clock fell from {max(clocks):.0f} to {min(clocks):.0f} MHz"
    return None


def _throttled(seen: _Seen) -> Warning | None:
    fix = "cool the device, use a stronger power supply, or rest between rounds with --cooldown 30s"
    fact, suspect = _throttling(seen.pairs), _suspect(seen.rounds, "throttled", fix)
    if fact and suspect:
        return Warning("throttled", f"{fact}, and {suspect.message}")
    return Warning("throttled", f"{fact}; {fix}") if fact else suspect


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
    if changed := _changed(seen.pairs):
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


def _swapping(seen: _Seen) -> Warning | None:
    own = max(
        (memory.swap_bytes or 0 for record in seen.rounds for memory in record.memory.values()),
        default=0,
    )
    if own > _MIN_SWAP_BYTES:
        return Warning(
            "swapping",
            f"{format_bytes(own)} of the worker were in swap, since memory is short; close programs or lower --n-ctx",
        )
    grown = _growth(seen.pairs, "swap_used_bytes")
    if grown is not None and grown > _MIN_SWAP_BYTES:
        return Warning(
            "swapping",
            f"swap grew by {format_bytes(grown)} during the measurement, since memory is short; "
            "close programs or lower --n-ctx",
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


def _busy(seen: _Seen) -> Warning | None:
    all_ns, own_ns = _growth(seen.pairs, "busy_ns"), _growth(seen.pairs, "process_cpu_ns")
    stolen_ns = _growth(seen.pairs, "steal_ns") or 0
    # The counters also cover what lies between the readings and the timed steps; older records do not say how long.
    between_ns = _growth(seen.pairs, "clock_ns")
    seconds = between_ns / _NS_PER_S if between_ns else _seconds(seen.rounds)
    if all_ns is None or own_ns is None or not seconds:
        return None
    foreign_ns = max(0, all_ns - own_ns + stolen_ns)
    foreign = foreign_ns / _NS_PER_S / seconds
    if foreign > _FOREIGN_SHARE and foreign_ns > _COARSE_NS * len(seen.rounds):
        stolen = f", {stolen_ns / _NS_PER_S / seconds:.0%} stolen by the host" if stolen_ns else ""
        return Warning(
            "busy",
            f"other programs used {foreign:.0%} of one CPU{stolen}; top names them; close them and re-measure",
        )
    return None


def _paging(seen: _Seen) -> Warning | None:
    faults = _growth(seen.pairs, "major_faults")
    if faults:
        return Warning(
            "paging",
            f"{faults} pages were read from disk during the measurement: the weights do not stay in memory; "
            "close programs, choose a smaller level, or use --load-mode mlock",
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
    elif _busy(seen):
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
    _swapping,
    _noisy,
    _busy,
    _paging,
    _oversubscribed,
    _starved,
    _ignored,
)
