"""What being observed costs, measured apart from the total that it is to be held against.

Observed, each group is a graph of its own: two calls of a Python function, a graph to be planned, and, where the group
is computed by several threads, the waking of them and the waiting for the last. Nodes that compute nothing (RESHAPE,
VIEW, PERMUTE, TRANSPOSE) show the first part: that constant is taken off every group. ggml computes them in one thread,
so with more threads the constant of threaded groups is measured on small neighbours (the sum that ends a layer and the
norm that begins the next): what they take apart, less what they take together, is what it costs to be alone once more.
No time is ever scaled to the known total; how far the corrected sum is from it stands beside it.
"""

import msgspec

from profiler.analysis.stats import median
from profiler.operators.records import PhaseSeen


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """Nanoseconds per group."""

    noop_ns: float
    n_noops: int  # it was measured on
    threaded_ns: float  # of a group that several threads compute; the same as noop_ns with one thread
    n_joins: int = 0


class Sums(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as a whole: medians over runs."""

    raw_ns: float
    correction_ns: float
    corrected_ns: float
    plain_ns: float
    gap: float  # (corrected - plain) / plain, the median over the pairs of repetitions
    gap_lowest: float
    gap_highest: float
    quiet_ns: float  # the corrected sum of each group's own median: less than corrected_ns where runs were disturbed


def medians_of(seen: PhaseSeen) -> list[float]:
    """Give each group's median over the runs."""
    return [median(each) for each in zip(*seen.group_ns, strict=True)]


def constants_of(seen: PhaseSeen) -> Constants:
    """Measure the constants; zero where the graph has no node to measure them on."""
    middle = medians_of(seen)
    noops = [ns for group, ns in zip(seen.groups, middle, strict=True) if group.is_noop]
    noop_ns = median(noops) if noops else 0.0
    found = []
    for join in seen.joins:
        apart = middle[join.first : join.last + 1]
        idle = sum(group.is_noop for group in seen.groups[join.first : join.last + 1])
        found.append(sum(apart) - median(join.together_ns) - idle * noop_ns)
    # Waking threads costs no less than not waking them; a lesser figure is the noise of the machine.
    threaded_ns = max(noop_ns, median(found)) if found else noop_ns
    return Constants(noop_ns=noop_ns, n_noops=len(noops), threaded_ns=threaded_ns, n_joins=len(found))


def correction_of(seen: PhaseSeen, constants: Constants) -> list[float]:
    """Give what is to be taken off each group."""
    return [constants.threaded_ns if group.is_threaded else constants.noop_ns for group in seen.groups]


def sums_of(seen: PhaseSeen, constants: Constants) -> Sums:
    """Put the raw sum, the correction, the corrected sum and the plain time side by side."""
    correction_ns = sum(correction_of(seen, constants))
    raw = [float(sum(run)) for run in seen.group_ns]
    plain = [float(each) for each in seen.plain_ns]
    steps = len(raw) // seen.reps
    pairs = [
        (median(raw[first : first + steps]) - correction_ns, median(plain[first : first + steps]))
        for first in range(0, len(raw), steps)
    ]
    gaps = [(corrected - unobserved) / unobserved for corrected, unobserved in pairs]
    raw_ns = median(raw)
    return Sums(
        raw_ns=raw_ns,
        correction_ns=correction_ns,
        corrected_ns=raw_ns - correction_ns,
        plain_ns=median(plain),
        gap=median(gaps),
        gap_lowest=min(gaps),
        gap_highest=max(gaps),
        quiet_ns=sum(medians_of(seen)) - correction_ns,
    )
