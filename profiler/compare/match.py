"""Which cell of one results file is which of the other.

Two cells match when model, weights, level, imatrix and every setting are the same. The file's hash may differ: another
converter writes other bytes. An axis that is left out of the key is matched across.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from profiler.analysis.flags import flags_of
from profiler.analysis.sustained.steady import last_run, steady_part
from profiler.compare.figures import FIGURES
from profiler.records.config import RunConfig
from profiler.records.environment import Environment
from profiler.records.round import Round
from profiler.results.file import Results
from profiler.results.kept import kept
from profiler.results.shares import find_in_cells, serve_shares
from quant.gguf_io.artifact import Artifact

AXES = {
    "level": ("quant", "imatrix"),
    "threads": ("n_threads", "n_threads_batch"),
    "device": ("device", "n_gpu_layers"),
}
_SETTINGS = RunConfig.__struct_fields__


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One cell on one device: what of its rounds is compared."""

    artifact: Artifact
    env_id: str
    key: str
    config: RunConfig
    status: str  # as in every table: failed where any round is
    error: str | None  # of the last round that has one
    n_ok: int
    has_target: bool  # a stopping rule chose the number of rounds
    flags: tuple[str, ...]
    figures: dict[str, tuple[float, ...]]  # by the figure's name, a value for each round that has one


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of each side."""

    pairs: list[tuple[Side, Side]]
    only_base: list[Side]
    only_new: list[Side]
    ambiguous: list[tuple[Side, ...]]  # same key several times on one side: so none can be matched


def sides_of(results: Results) -> list[Side]:
    """Return the cells of some results, in the order of the file."""
    return kept(results.key, "sides", list[Side], lambda: find_in_cells(results, Side, side_of))


def side_of(rounds: Sequence[Round], artifact: Artifact, environment: Environment | None) -> Side:
    """Take what is compared from the rounds of one cell."""
    rounds = last_run(rounds)
    first, statuses = rounds[0], {record.status for record in rounds}
    ok = [record for record in rounds if record.status == "ok"]
    if first.cell.config.sustain_s:
        ok = steady_part(ok)
    values = {
        figure.name: tuple(value for record in ok if (value := figure.value_of(record)) is not None and value > 0)
        for figure in FIGURES
    }
    return Side(
        artifact=artifact,
        env_id=first.env_id,
        key=first.cell.key,
        config=first.cell.config,
        status=next(status for status in ("failed", "skipped", "ok") if status in statuses),
        error=next((record.error.message for record in reversed(rounds) if record.error is not None), None),
        n_ok=len(ok),
        has_target=any(record.target is not None for record in rounds),
        flags=tuple(warning.name for warning in flags_of(ok, environment)),
        figures={name: found for name, found in values.items() if found},
    )


def _fields(side: Side, others: Collection[str]) -> dict[str, Any]:
    artifact = side.artifact
    # Records of before files gave models their names have the header's name there.
    is_old_name = artifact.model not in others and artifact.general_name in others
    fields = {
        "model": artifact.general_name if is_old_name else artifact.model,
        "arch": artifact.arch,
        "n_params": artifact.n_params,
        "weights": artifact.weights,
        "quant": artifact.level,
        "imatrix": artifact.imatrix_sha256,
    }
    return fields | {name: getattr(side.config, name) for name in _SETTINGS}


def match(base: Sequence[Side], new: Sequence[Side], by: str | None = None) -> Match:
    """Pair the cells; with `by`, every two cells that differ in that axis and in nothing else."""
    left_out = AXES[by] if by else ()
    groups: dict[tuple[Any, ...], tuple[list[Side], list[Side]]] = {}
    models = [{side.artifact.model for side in sides} for sides in (new, base)]
    for place, (sides, others) in enumerate(zip((base, new), models, strict=True)):
        for side in sides:
            key = tuple(value for name, value in _fields(side, others).items() if name not in left_out)
            groups.setdefault(key, ([], []))[place].append(side)
    found = Match(pairs=[], only_base=[], only_new=[], ambiguous=[])
    for bases, news in groups.values():
        if by:
            _cross(bases, news, left_out, found)
        else:
            _straight(bases, news, found)
    return found


def _straight(bases: list[Side], news: list[Side], found: Match) -> None:
    """Pair what is the same in everything first, then what is left if it is one on each side."""
    bases, news = list(bases), list(news)
    for same in (_file_and_device, _device, _file):
        for key in dict.fromkeys(same(side) for side in bases):
            ours = [side for side in bases if same(side) == key]
            theirs = [side for side in news if same(side) == key]
            if len(ours) == len(theirs) == 1:
                found.pairs.append((ours[0], theirs[0]))
                bases = [side for side in bases if side is not ours[0]]
                news = [side for side in news if side is not theirs[0]]
    if len(bases) == len(news) == 1:
        found.pairs.append((bases[0], news[0]))
    elif bases and news:
        found.ambiguous.append((*bases, *news))
    else:
        found.only_base.extend(bases)
        found.only_new.extend(news)


def _file_and_device(side: Side) -> tuple[str, str]:
    return side.artifact.sha256, side.env_id


def _device(side: Side) -> str:
    return side.env_id


def _file(side: Side) -> str:
    return side.artifact.sha256


def _cross(bases: list[Side], news: list[Side], axis: Sequence[str], found: Match) -> None:
    def place(side: Side) -> tuple[Any, ...]:
        fields = _fields(side, ())
        return tuple(fields[name] for name in axis)

    seen: set[frozenset[tuple[str, str]]] = set()
    used_base: set[int] = set()
    used_new: set[int] = set()
    for b, ours in enumerate(bases):
        for n, theirs in enumerate(news):
            if place(ours) == place(theirs):
                continue
            used_base.add(b)
            used_new.add(n)
            # A file against itself holds every pair twice, once in each direction.
            pair = frozenset((side.key, side.env_id) for side in (ours, theirs))
            if pair not in seen:
                seen.add(pair)
                found.pairs.append((ours, theirs))
    found.only_base.extend(side for b, side in enumerate(bases) if b not in used_base)
    found.only_new.extend(side for n, side in enumerate(news) if n not in used_new)


if __name__ == "__main__":
    serve_shares(side_of)
