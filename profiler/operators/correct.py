"""What observing costs, measured independently of the total time that the corrected sum is compared with.

Observed, each group is a graph of its own: two calls of a Python function, the planning of a graph and, where several
threads compute the group, waking them and waiting for the last. Nodes that compute nothing (RESHAPE, VIEW, PERMUTE,
TRANSPOSE) show the first part: that constant is subtracted from every group. ggml computes them in one thread, so with
more threads the constant of threaded groups is measured on small neighbours (the sum that ends a layer and the norm
that begins the next): their time apart less their time together is what one more graph costs.
No time is ever scaled to the known total; the gap between corrected sum and total is reported.
"""

import msgspec

from profiler.analysis.stats import median
from profiler.operators.records import PhaseObservation


class Constants(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of observing, in nanoseconds per group."""

    noop_ns: float
    n_noops: int  # nodes it was measured on
    threaded_ns: float  # of a group that several threads compute; equal to noop_ns with one thread
    n_joins: int = 0


class PhaseTotals(msgspec.Struct, frozen=True, kw_only=True):
    """A phase as a whole: medians over runs."""

    raw_ns: float
    correction_ns: float
    corrected_ns: float
    plain_ns: float
    gap: float  # (corrected - plain) / plain, the median over the pairs of repetitions
    gap_lowest: float
    gap_highest: float
    quiet_ns: float  # the corrected sum of each group's own median: less than corrected_ns where runs were disturbed


def medians_of(phase: PhaseObservation) -> list[float]:
    """Return each group's median over the runs, in nanoseconds."""
    return [median(each) for each in zip(*phase.group_ns, strict=True)]


def constants_of(phase: PhaseObservation) -> Constants:
    """Return the constants; zero where the graph has no node to measure them on."""
    medians = medians_of(phase)
    noops = [ns for group, ns in zip(phase.groups, medians, strict=True) if group.is_noop]
    noop_ns = median(noops) if noops else 0.0
    differences = []
    for join in phase.joins:
        apart = medians[join.first : join.last + 1]
        n_noops = sum(group.is_noop for group in phase.groups[join.first : join.last + 1])
        differences.append(sum(apart) - median(join.together_ns) - n_noops * noop_ns)
    # Waking threads costs at least as much as not waking them; a smaller figure is noise.
    threaded_ns = max(noop_ns, median(differences)) if differences else noop_ns
    return Constants(noop_ns=noop_ns, n_noops=len(noops), threaded_ns=threaded_ns, n_joins=len(differences))


def correction_of(phase: PhaseObservation, constants: Constants) -> list[float]:
    """Return the correction to subtract from each group, in nanoseconds."""
    return [constants.threaded_ns if group.is_threaded else constants.noop_ns for group in phase.groups]


def totals_of(phase: PhaseObservation, constants: Constants) -> PhaseTotals:
    """Return the raw sum, the correction, the corrected sum and the plain time."""
    correction_ns = sum(correction_of(phase, constants))
    raw = [float(sum(run)) for run in phase.group_ns]
    plain = [float(each) for each in phase.plain_ns]
    steps = len(raw) // phase.reps
    pairs = [
        (median(raw[first : first + steps]) - correction_ns, median(plain[first : first + steps]))
        for first in range(0, len(raw), steps)
    ]
    gaps = [(corrected - unobserved) / unobserved for corrected, unobserved in pairs]
    raw_ns = median(raw)
    return PhaseTotals(
        raw_ns=raw_ns,
        correction_ns=correction_ns,
        corrected_ns=raw_ns - correction_ns,
        plain_ns=median(plain),
        gap=median(gaps),
        gap_lowest=min(gaps),
        gap_highest=max(gaps),
        quiet_ns=sum(medians_of(phase)) - correction_ns,
    )
