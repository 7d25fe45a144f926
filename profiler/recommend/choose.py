"""Choose one cell within limits: `recommend(summaries, limits) -> Recommendation`, pure.

    recommend(
        summaries,                  # of profiler.analysis.summarise.summarise; environments and loads may be mixed
        limits=Limits(),            # max_memory_bytes, min_decode_tps, min_prefill_tps, max_ttft_ms, max_kld, n_ctx
        prefer=None,                # Prefer(speed=, memory=, quality=); None: quality, then speed, then memory
        flagged=False,              # True: flagged cells may be chosen
        artifacts=None,             # artifact_sha256 -> Artifact, for the command that measures the choice again
        results_name="results.jsonl",  # for the commands that add what is missing
    ) -> Recommendation

There is one choice per environment, device, model, kind of weights and load, and per context where none is asked for:
these are never weighed against each other. Models are not either, since no figure here compares what they know.
`profiler.recommend.text.render` writes it; its JSON is described in `records`.
"""

import math
from collections.abc import Mapping, Sequence
from operator import attrgetter

import msgspec

from profiler.recommend.again import command_of
from profiler.recommend.candidates import candidates_of, groups_of, name_of, nearest_context
from profiler.recommend.limits import misses, step, typed
from profiler.recommend.rank import Ranked, basis_of, rank, speed_of
from profiler.recommend.reasons import against, reason_of
from profiler.recommend.records import (
    Candidate,
    Choice,
    LeftOut,
    Limits,
    Miss,
    NearMiss,
    Prefer,
    Recommendation,
    Relax,
    RunnerUp,
)
from profiler.records.cell_summary import CellSummary
from profiler.records.span import Span
from profiler.tables.speed import clean
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact


def recommend(
    summaries: Sequence[CellSummary],
    limits: Limits | None = None,
    *,
    prefer: Prefer | None = None,
    flagged: bool = False,
    artifacts: Mapping[str, Artifact] | None = None,
    results_name: str = "results.jsonl",
) -> Recommendation:
    """Choose a cell for each environment, device, model and load.

    Raises:
        UserError: a limit asks for what nobody measured: quality, or a time to first token.
    """
    limits = limits or Limits()
    notes: list[str] = []
    groups = groups_of(summaries, limits.n_ctx)
    if limits.max_kld is not None:
        _require_quality(summaries, results_name)
    if limits.max_ttft_ms is not None:
        groups = _requests(groups, notes, results_name)
    choices = []
    for group in groups:
        cells = nearest_context(group, limits.n_ctx)
        choices.append(_choose(cells, limits, prefer, flagged, artifacts or {}))
    return Recommendation(
        limits=limits,
        prefer=prefer,
        flagged=flagged,
        choices=tuple(choices),
        notes=(*notes, *_apart(choices)),
    )


def _require_quality(summaries: Sequence[CellSummary], results_name: str) -> None:
    if any(cell.quality.kld is not None for cell in summaries):
        return
    models = " ".join(
        dict.fromkeys(clean(cell.artifact.model) for cell in summaries if cell.artifact.weights == "real")
    )
    if summaries and not models:
        raise UserError("--max-kld needs measured quality, and made-up weights have none; leave --max-kld away")
    levels = ",".join(dict.fromkeys(clean(cell.artifact.level) for cell in summaries))
    raise UserError(
        f"--max-kld needs measured quality, and {results_name} has none; measure it first: "
        f"slmprof quality {models} -q {levels} -o {results_name}"
    )


def _requests(groups: list[list[CellSummary]], notes: list[str], results_name: str) -> list[list[CellSummary]]:
    """Leave out the loads that have no time to first token, since the limit says that a request is meant."""
    kept = [group for group in groups if group[0].config.mode == "request"]
    if groups and not kept:
        raise UserError(
            "--max-ttft needs a request, and only prefill and decode apart are measured; add one: "
            f"slmprof profile SOURCE --workload chat -o {results_name}"
        )
    if left := sorted({clean(group[0].config.workload) for group in groups if group[0].config.mode != "request"}):
        notes.append(f"left out, since it has no time to first token: {', '.join(left)}")
    return kept


def _apart(choices: Sequence[Choice]) -> list[str]:
    """Say what was kept apart, and how to ask for one of them."""
    notes = []
    if len(found := {each.env_id for each in choices}) > 1:
        notes.append(f"{len(found)} environments: each has its own choice; give the file of one for a single answer")
    if len(found := {each.model for each in choices}) > 1:
        notes.append(
            f"{len(found)} models: each has its own choice, since no figure here compares what models know; "
            "--model NAME takes one"
        )
    if len(found := {each.workload for each in choices}) > 1:
        notes.append(f"{len(found)} loads: each has its own choice; --workload NAME takes one")
    if len({each.weights for each in choices}) > 1:
        notes.append("real and made-up weights are kept apart")
    return notes


def _choose(
    group: Sequence[CellSummary],
    limits: Limits,
    prefer: Prefer | None,
    flagged: bool,
    artifacts: Mapping[str, Artifact],
) -> Choice:
    first, cells = group[0], {cell.cell_key: cell for cell in group}
    everyone = candidates_of(group, limits.n_ctx)
    well = [each for each in everyone if cells[each.cell_key].status == "ok"]
    pool = [each for each in well if flagged or not each.flags]
    missed = {each.cell_key: misses(each, limits) for each in well}
    fitting = [each for each in pool if not missed[each.cell_key]]
    basis = basis_of(fitting or pool)
    ranked = rank(fitting, basis, prefer)
    near = _near_misses(pool, missed, {each.artifact_sha256 for each in fitting})
    chosen = ranked[0].candidate if ranked else None
    relax = None if ranked else _relax(pool, missed, prefer)
    return Choice(
        env_id=first.env_id,
        device=first.config.device,
        model=first.artifact.model,
        weights=first.artifact.weights,
        standin_for=first.artifact.standin_for,
        n_params=first.artifact.n_params,
        mode=first.config.mode,
        workload=first.config.workload,
        n_prompt=first.config.n_prompt,
        n_gen=first.config.n_gen,
        n_depth=first.config.n_depth,
        quality_basis=basis,
        n_considered=len(pool),
        n_fitting=len(fitting),
        chosen=chosen,
        reason=reason_of(ranked, basis, limits, prefer, some_flagged=len(pool) < len(well))
        if ranked
        else _no_reason(everyone, pool, near, relax),
        tied=tuple(name_of(each.candidate) for each in ranked[1:] if _tied(each.candidate, ranked[0].candidate)),
        runners_up=_runners_up(ranked, basis),
        near_misses=near,
        left_out=_left_out(everyone, cells, missed, pool, fitting, prefer),
        relax=relax,
        command=_again(chosen, cells, artifacts, limits.n_ctx) if chosen else None,
    )


def _again(
    chosen: Candidate, cells: Mapping[str, CellSummary], artifacts: Mapping[str, Artifact], n_ctx: int | None
) -> str:
    """Give the command that measures the choice, at the context asked for where its memory is an estimate."""
    artifact = artifacts.get(chosen.artifact_sha256)
    return command_of(cells[chosen.cell_key], artifact, n_ctx if chosen.memory_estimated else None)


def _tied(one: Candidate, other: Candidate) -> bool:
    mine, its = speed_of(one), speed_of(other)
    return mine is not None and its is not None and mine.overlaps(its)


def _runners_up(ranked: Sequence[Ranked], basis: str) -> tuple[RunnerUp, ...]:
    best: dict[str, RunnerUp] = {}
    for each in ranked[1:]:
        sha256 = each.candidate.artifact_sha256
        if sha256 != ranked[0].candidate.artifact_sha256 and sha256 not in best:
            text = against(each.candidate, ranked[0].candidate, basis)
            best[sha256] = RunnerUp(candidate=each.candidate, text=text)
    return tuple(best.values())


def _near_misses(
    pool: Sequence[Candidate], missed: Mapping[str, tuple[Miss, ...]], fitting: set[str]
) -> tuple[NearMiss, ...]:
    """Of every file that does not fit take the cell that comes nearest; the nearest file first."""

    def distance(each: Candidate) -> tuple[float, float, float, str]:
        found, speed = missed[each.cell_key], speed_of(each)
        return len(found), sum(step(miss) for miss in found), -(speed.value if speed else 0.0), each.cell_key

    nearest: dict[str, Candidate] = {}
    for each in sorted((each for each in pool if each.artifact_sha256 not in fitting), key=distance):
        nearest.setdefault(each.artifact_sha256, each)
    return tuple(
        NearMiss(
            candidate=each,
            misses=missed[each.cell_key],
            text=f"{name_of(each)} {' and '.join(_gives(miss) for miss in missed[each.cell_key])}",
        )
        for each in nearest.values()
    )


def _gives(miss: Miss) -> str:
    if miss.relaxed is None:
        return miss.needs
    return f"{miss.needs} ({miss.option} {typed(miss.option, miss.relaxed)})"


def _relax(pool: Sequence[Candidate], missed: Mapping[str, tuple[Miss, ...]], prefer: Prefer | None) -> Relax | None:
    """Find the smallest step of one limit after which something fits; equal steps go to the better candidate."""
    single = [each for each in pool if len(missed[each.cell_key]) == 1]
    steps = {each.cell_key: step(missed[each.cell_key][0]) for each in single}
    single = [each for each in single if steps[each.cell_key] < math.inf]
    if not single:
        return None
    ordered = [each.candidate for each in rank(single, basis_of(single), prefer)]
    best = min(ordered, key=lambda each: steps[each.cell_key])  # of equal ones the first
    (miss,) = missed[best.cell_key]
    assert miss.relaxed is not None
    value = typed(miss.option, miss.relaxed)
    return Relax(
        option=miss.option,
        value=value,
        gives=best,
        text=f"relax {miss.option} from {typed(miss.option, miss.limit)} to {value}: "
        f"{name_of(best)} {miss.needs} and keeps all else",
    )


def _no_reason(
    everyone: Sequence[Candidate], pool: Sequence[Candidate], near: Sequence[NearMiss], relax: Relax | None
) -> str:
    if not pool:
        if any(each.flags for each in everyone):
            return "every cell is flagged or failed: measure again in quiet, or allow what is flagged with --flagged"
        return "no cell was measured well; see slmprof show"
    if relax is not None:
        return "nothing keeps all limits"
    if near and all(miss.relaxed is None for miss in near[0].misses):
        return f"nothing keeps all limits, and no other limit would help: {near[0].text}"
    return f"nothing keeps all limits, and no single one is enough to relax: {near[0].text}, and this comes nearest"


def _left_out(
    everyone: Sequence[Candidate],
    cells: Mapping[str, CellSummary],
    missed: Mapping[str, tuple[Miss, ...]],
    pool: Sequence[Candidate],
    fitting: Sequence[Candidate],
    prefer: Prefer | None,
) -> tuple[LeftOut, ...]:
    """Name the cells that were not considered; one that would have been chosen is told so."""
    considered = {each.cell_key for each in pool}
    barred = [each for each in everyone if each.cell_key not in considered]
    able = [*fitting, *(each for each in barred if missed.get(each.cell_key) == ())]
    first = rank(able, basis_of(able), prefer)[0].candidate.cell_key if able else None
    found = []
    for each in barred:
        cell = cells[each.cell_key]
        if cell.status != "ok":
            why = f"{cell.status}: {clean(cell.error or '?')}"
        else:
            why = f"flagged {', '.join(each.flags)}"
            if each.cell_key == first:
                why += "; it would be the choice: measure it again, or allow it with --flagged"
        found.append(LeftOut(cell_key=each.cell_key, name=name_of(each), why=why))
    return tuple(found)


def narrowed(
    summaries: Sequence[CellSummary], *, model: str | None = None, workload: str | None = None
) -> list[CellSummary]:
    """Keep the cells of one model, one workload; case does not count.

    Raises:
        UserError: there is none.
    """
    kept = list(summaries)
    for option, path, wanted in (("--model", "artifact.model", model), ("--workload", "config.workload", workload)):
        if wanted is None:
            continue
        read = attrgetter(path)
        there = list(dict.fromkeys(clean(read(cell)) for cell in kept))
        kept = [cell for cell in kept if clean(read(cell)).lower() == wanted.strip().lower()]
        if not kept:
            raise UserError(f"no cell has {option} {wanted}; the results hold {', '.join(there) or 'nothing'}")
    return kept


def to_json(recommendation: Recommendation) -> str:
    """Write a recommendation as `records` describes it."""
    return msgspec.json.format(msgspec.json.encode(_plain(recommendation)), indent=1).decode() + "\n"


def _plain(value: object) -> object:
    """Return a record as plain objects; of a Span its figures."""
    if isinstance(value, Span):
        return {"middle": float(value.value), "lo": float(value.lo), "hi": float(value.hi)}
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
