"""From observations to a breakdown: times, bytes and operations by operator, by module and by layer."""

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from profiler.operators.classify import MODULES
from profiler.operators.correct import Constants, PhaseTotals, correction_of, medians_of, totals_of
from profiler.operators.records import Group, PhaseObservation

_NS = 1e9
K = TypeVar("K", bound=Hashable)


class BreakdownRow(msgspec.Struct, frozen=True, kw_only=True):
    """One operator or one module in one run."""

    name: str
    calls: int
    ns: float  # corrected
    share: float
    n_bytes: int
    n_flops: int
    bytes_per_s: float | None  # None where nothing is moved, or no time is left
    flops_per_s: float | None
    of_ceiling: float | None  # bytes_per_s as a share of the measured read bandwidth; None where there is none


class LayerRow(msgspec.Struct, frozen=True, kw_only=True):
    """One layer in one run: corrected time in nanoseconds, in all and by module."""

    layer: int
    ns: float
    modules: dict[str, float]


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """One phase."""

    depth: int
    n_tokens: int
    n_runs: int
    n_groups: int
    constants: Constants
    sums: PhaseTotals
    operators: tuple[BreakdownRow, ...]  # the slowest first
    modules: tuple[BreakdownRow, ...]
    layers: tuple[LayerRow, ...]


class _Item(NamedTuple):
    group: Group
    ns: float


def break_down(phase: PhaseObservation, constants: Constants, ceiling_bytes_per_s: float | None = None) -> Breakdown:
    """Add up the groups' corrected medians by operator, by module and by layer."""
    items = [
        _Item(group, median_ns - correction_ns)
        for group, median_ns, correction_ns in zip(
            phase.groups, medians_of(phase), correction_of(phase, constants), strict=True
        )
    ]
    # No-ops take no time: what is left of theirs after the correction is noise.
    working = [item for item in items if not item.group.is_noop]
    operators = _rows(working, lambda group: group.op, ceiling_bytes_per_s)
    modules = {row.name: row for row in _rows(working, lambda group: group.module, ceiling_bytes_per_s)}
    return Breakdown(
        depth=phase.depth,
        n_tokens=phase.n_tokens,
        n_runs=len(phase.group_ns),
        n_groups=len(phase.groups),
        constants=constants,
        sums=totals_of(phase, constants),
        operators=tuple(sorted(operators, key=lambda row: -row.ns)),
        modules=tuple(modules[name] for name in MODULES if name in modules),
        layers=tuple(_layers(working)),
    )


def shares_by_run(phase: PhaseObservation, constants: Constants, key: Callable[[Group], K]) -> dict[K, list[float]]:
    """Return what `key` makes of the groups, each with its share of the corrected time of every observed run."""
    corrections = correction_of(phase, constants)
    working = [place for place, group in enumerate(phase.groups) if not group.is_noop]
    found: dict[K, list[float]] = {key(phase.groups[place]): [] for place in working}
    for run in phase.group_ns:
        times = dict.fromkeys(found, 0.0)
        for place in working:
            times[key(phase.groups[place])] += run[place] - corrections[place]
        total = sum(times.values())
        for name, ns in times.items():
            found[name].append(ns / total if total > 0 else 0.0)
    return found


def _rows(items: Sequence[_Item], key: Callable[[Group], str], ceiling: float | None) -> list[BreakdownRow]:
    total = sum(item.ns for item in items)
    rows = []
    for name, members in _by(items, key).items():
        ns = sum(item.ns for item in members)
        n_bytes = sum(item.group.n_bytes for item in members)
        n_flops = sum(item.group.n_flops for item in members)
        bytes_per_s = _per_s(n_bytes, ns)
        rows.append(
            BreakdownRow(
                name=name,
                calls=len(members),
                ns=ns,
                share=ns / total if total > 0 else 0.0,
                n_bytes=n_bytes,
                n_flops=n_flops,
                bytes_per_s=bytes_per_s,
                flops_per_s=_per_s(n_flops, ns),
                of_ceiling=bytes_per_s / ceiling if bytes_per_s and ceiling else None,
            )
        )
    return rows


def _layers(items: Sequence[_Item]) -> list[LayerRow]:
    rows = []
    for layer, members in sorted(_by([item for item in items if item.group.layer is not None], _layer).items()):
        modules = {name: sum(item.ns for item in part) for name, part in _by(members, _module).items()}
        rows.append(LayerRow(layer=layer, ns=sum(item.ns for item in members), modules=modules))
    return rows


def _layer(group: Group) -> int:
    assert group.layer is not None
    return group.layer


def _module(group: Group) -> str:
    return group.module


def _by(items: Sequence[_Item], key: Callable[[Group], K]) -> dict[K, list[_Item]]:
    parts: dict[K, list[_Item]] = {}
    for item in items:
        parts.setdefault(key(item.group), []).append(item)
    return parts


def _per_s(amount: int, ns: float) -> float | None:
    return amount * _NS / ns if amount and ns > 0 else None
