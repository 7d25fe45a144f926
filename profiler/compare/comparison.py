"""The comparison of two results: matched cells, their figures' ratios, and which of them are differences.

Many figures are tested at once, so that one in twenty would be "significant" though nothing changed. The p values are
adjusted together by Benjamini and Hochberg's step-up: when nothing has changed, the chance that anything at all is
called a difference is at most 5 %; when something has, at most 5 % of what is called one is expected to be none.
Holm's method would promise more than that, and find nothing: six rounds against six cannot show a p below 0.0022, which
stops being enough at 24 tests, whatever the slow-down. Source: Benjamini & Hochberg, J. R. Statist. Soc. B 57 (1995).
"""

from collections.abc import Sequence

import msgspec

from profiler.analysis.stats import INTERVAL_ROUNDS, median
from profiler.compare.differences import Difference, differences
from profiler.compare.figures import BY_NAME, FIGURES
from profiler.compare.match import Side, match, sides_of
from profiler.compare.permutation import compare_rounds, least_p
from profiler.results.file import Results

ALPHA = 0.05


class CellName(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader needs to know a cell by."""

    cell_key: str
    env_id: str
    artifact_sha256: str
    model: str
    weights: str
    standin_family: str | None
    quant: str
    imatrix: str | None
    device: str
    n_threads: int
    n_threads_batch: int
    workload: str
    mode: str
    n_prompt: int
    n_gen: int
    n_depth: int
    sustain_s: int
    status: str
    error: str | None
    rounds: int
    flags: tuple[str, ...]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of a matched pair. Without an interval (`lo` is null) only the ranges are known."""

    figure: str
    base: float
    new: float
    base_min: float
    base_max: float
    new_min: float
    new_max: float
    ratio: float
    lo: float | None
    hi: float | None
    p: float | None
    p_adjusted: float | None
    significant: bool

    @property
    def constant(self) -> bool:
        """Whether every round on both sides has the same value: no permutation could differ, so it is no test.

        Source: Tarone, Biometrics 46 (1990), on leaving out what cannot become significant.
        """
        return self.base_min == self.base_max == self.new_min == self.new_max

    @property
    def percent(self) -> float:
        """The change of the value in per cent of the base."""
        return (self.ratio - 1) * 100

    @property
    def loss_percent(self) -> float:
        """By how much it became slower or larger, in per cent; negative where it became better."""
        return -self.percent if BY_NAME[self.figure].higher_is_better else self.percent


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """A cell on both sides."""

    base: CellName
    new: CellName
    same_file: bool
    changes: tuple[Change, ...]


class EnvironmentPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two environments of which cells were compared."""

    base: str
    new: str
    n_pairs: int
    differences: tuple[Difference, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All of it; `compare --json` writes these fields."""

    by: str | None
    environments: tuple[EnvironmentPair, ...]
    pairs: tuple[Pair, ...]
    only_base: tuple[CellName, ...]
    only_new: tuple[CellName, ...]
    ambiguous: tuple[tuple[CellName, ...], ...]
    n_tests: int
    least_p_adjusted: float | None  # what a single changed figure could reach; above ALPHA it cannot be shown
    stopped_early: bool  # a stopping rule chose the number of some cell's rounds

    def broken(self) -> list[CellName]:
        """Return the cells that were measured in the base and failed since."""
        return [pair.new for pair in self.pairs if pair.base.status == "ok" and pair.new.status != "ok"]

    def slow_downs(self, threshold_percent: float) -> list[tuple[Pair, Change]]:
        """Return the figures of speed that are significantly worse, by more than the threshold."""
        return [
            (pair, change)
            for pair in self.pairs
            for change in pair.changes
            if BY_NAME[change.figure].speed and change.significant and change.loss_percent > threshold_percent
        ]


def compare_results(base: Results, new: Results, by: str | None = None) -> Comparison:
    """Compare two results, cell by cell."""
    found = match(sides_of(base), sides_of(new), by)
    names: dict[tuple[int, str, str], CellName] = {}

    def name(which: int, side: Side) -> CellName:
        key = which, side.key, side.env_id
        if key not in names:
            names[key] = _name(side)
        return names[key]

    drafts = [(ours, theirs, _changes(ours, theirs)) for ours, theirs in found.pairs]
    flat = [change for _, _, changes in drafts for change in changes]
    adjusted = iter(_adjusted(flat))
    pairs = tuple(
        Pair(
            base=name(0, ours),
            new=name(1, theirs),
            same_file=ours.artifact.sha256 == theirs.artifact.sha256,
            changes=tuple(next(adjusted) for _ in changes),
        )
        for ours, theirs, changes in drafts
    )
    tested = [change for change in flat if change.p is not None and not change.constant]
    least = [
        least_p(ours.n_ok, theirs.n_ok)
        for ours, theirs, changes in drafts
        if any(each.p is not None and not each.constant for each in changes)
    ]
    return Comparison(
        by=by,
        environments=_environments(found.pairs, base, new),
        pairs=pairs,
        only_base=tuple(name(0, side) for side in found.only_base),
        only_new=tuple(name(1, side) for side in found.only_new),
        ambiguous=tuple(tuple(_name(side) for side in sides) for sides in found.ambiguous),
        n_tests=len(tested),
        least_p_adjusted=min(1.0, max(least) * len(tested)) if least else None,
        stopped_early=any(side.has_target for pair in found.pairs for side in pair),
    )


def adjust(values: Sequence[float]) -> list[float]:
    """Adjust p values by Benjamini and Hochberg's step-up, in their order."""
    order = sorted(range(len(values)), key=lambda place: values[place], reverse=True)
    adjusted = [1.0] * len(values)
    least = 1.0
    for rank, place in zip(range(len(values), 0, -1), order, strict=True):
        least = min(least, values[place] * len(values) / rank)
        adjusted[place] = least
    return adjusted


def _adjusted(changes: Sequence[Change]) -> list[Change]:
    """Adjust together all that could have come out as a difference."""
    adjusted = iter(adjust([change.p for change in changes if change.p is not None and not change.constant]))
    made = []
    for change in changes:
        if change.p is not None and change.constant:
            change = msgspec.structs.replace(change, p_adjusted=1.0)
        elif change.p is not None:
            p = next(adjusted)
            change = msgspec.structs.replace(change, p_adjusted=p, significant=p <= ALPHA)
        made.append(change)
    return made


def _changes(ours: Side, theirs: Side) -> tuple[Change, ...]:
    """Compare every figure that both sides have."""
    made = []
    for figure in FIGURES:
        before, after = ours.figures.get(figure.name, ()), theirs.figures.get(figure.name, ())
        if not before or not after:
            continue
        verdict = compare_rounds(before, after)
        made.append(
            Change(
                figure=figure.name,
                base=median(before),
                new=median(after),
                base_min=min(before),
                base_max=max(before),
                new_min=min(after),
                new_max=max(after),
                ratio=verdict.ratio,
                lo=verdict.lo,
                hi=verdict.hi,
                p=verdict.p,
                p_adjusted=None,
                significant=False,
            )
        )
    return tuple(made)


def _environments(pairs: Sequence[tuple[Side, Side]], base: Results, new: Results) -> tuple[EnvironmentPair, ...]:
    counts: dict[tuple[str, str], int] = {}
    for ours, theirs in pairs:
        counts[ours.env_id, theirs.env_id] = counts.get((ours.env_id, theirs.env_id), 0) + 1
    return tuple(
        EnvironmentPair(
            base=one,
            new=other,
            n_pairs=count,
            differences=()
            if one == other
            else tuple(differences(base.environments.get(one), new.environments.get(other))),
        )
        for (one, other), count in counts.items()
    )


def _name(side: Side) -> CellName:
    config, artifact = side.config, side.artifact
    return CellName(
        cell_key=side.key,
        env_id=side.env_id,
        artifact_sha256=artifact.sha256,
        model=artifact.model,
        weights=artifact.weights,
        standin_family=artifact.standin_family,
        quant=artifact.level,
        imatrix=artifact.imatrix_sha256,
        device=config.device,
        n_threads=config.n_threads,
        n_threads_batch=config.n_threads_batch,
        workload=config.workload,
        mode=config.mode,
        n_prompt=config.n_prompt,
        n_gen=config.n_gen,
        n_depth=config.n_depth,
        sustain_s=config.sustain_s,
        status=side.status,
        error=side.error if side.status != "ok" else None,
        rounds=side.n_ok,
        flags=side.flags,
    )


def few_rounds(pair: Pair) -> bool:
    """Return whether a pair has too few rounds on a side for an interval."""
    return min(pair.base.rounds, pair.new.rounds) < INTERVAL_ROUNDS
