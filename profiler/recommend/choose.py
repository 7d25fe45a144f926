"""Choose one cell within limits: `recommend(summaries, criteria) -> Recommendation`, pure.

There is one choice per environment, device, model, kind of weights and load, and per context where none is requested:
these never compete with each other. Models do not either, since no figure here compares what they can do.
`profiler.recommend.text.render` writes it; its JSON is described in `records`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from profiler.analysis.kv_cache import beyond_training
from profiler.recommend.candidates import candidates_of, groups_of, nearest_context
from profiler.recommend.limits import below_bar, misses
from profiler.recommend.misses import near_misses, smallest_relaxation, why_nothing_fits
from profiler.recommend.rank import Ranked, basis_of, rank
from profiler.recommend.reasons import against, disturbed_of, reason_of
from profiler.recommend.records import (
    Candidate,
    Choice,
    Criteria,
    Excluded,
    Limits,
    Miss,
    Recommendation,
    RunnerUp,
)
from profiler.recommend.rerun import command_of
from profiler.recommend.rule import goal_of
from profiler.records.cell_summary import CellSummary
from profiler.tables.format import clean
from quant.base.errors import UserError
from quant.gguf_io.shards import stem_of


def recommend(
    summaries: Sequence[CellSummary],
    criteria: Criteria | None = None,
    *,
    results_name: str = "results.jsonl",
) -> Recommendation:
    """Choose a cell for each environment, device, model and load.

    Args:
        summaries: of any environments and loads.
        criteria: None for no limits: the rule of rule.py.
        results_name: the file that commands in messages name.

    Raises:
        UserError: a limit is on a figure that was not measured: quality, or a time to first token; or there is no
            sustained load.
    """
    criteria = criteria or Criteria()
    limits = criteria.limits
    notes: list[str] = []
    summaries = _of_kind(summaries, criteria.sustained, results_name)
    groups = groups_of(summaries, limits.n_ctx)
    if limits.max_kld is not None:
        _require_quality(summaries, results_name)
    if limits.bounds_accuracy:
        _require_accuracy(summaries, limits, results_name)
    if limits.max_ttft_ms is not None:
        groups = _requests(groups, notes, results_name)
    choices = [_choose(nearest_context(group, limits.n_ctx), criteria) for group in groups]
    return Recommendation(
        limits=limits,
        prefer=criteria.order,
        flagged=criteria.flagged,
        choices=tuple(choices),
        notes=(
            *notes,
            *_unscored_caches(summaries),
            *_beyond_training(summaries, limits.n_ctx),
            *_separations(choices),
        ),
    )


def _of_kind(summaries: Sequence[CellSummary], sustained: bool, results_name: str) -> list[CellSummary]:
    """Return the cells of sustained loads, or the others; unasked the former where there are no others."""
    kept = [cell for cell in summaries if bool(cell.config.sustain_s) == sustained]
    if sustained and not kept:
        raise UserError(
            f"--sustained needs a sustained load, and {results_name} has none; measure one: "
            f"slmprof profile SOURCE --sustain 10m -o {results_name}"
        )
    return kept or list(summaries)


def _require_quality(summaries: Sequence[CellSummary], results_name: str) -> None:
    if any(cell.quality.kld is not None for cell in summaries):
        return
    models = " ".join(
        dict.fromkeys(clean(cell.artifact.model) for cell in summaries if cell.artifact.weights == "real")
    )
    if summaries and not models:
        raise UserError("--max-kld needs measured quality, and synthetic weights have none; remove --max-kld")
    levels = ",".join(dict.fromkeys(clean(cell.artifact.level) for cell in summaries))
    raise UserError(
        f"--max-kld needs measured quality, and {results_name} has none; measure it first: "
        f"slmprof quality {models} -q {levels} -o {results_name}"
    )


def _require_accuracy(summaries: Sequence[CellSummary], limits: Limits, results_name: str) -> None:
    """Check that tasks were asked: those of --min-accuracy of any file, of --max-accuracy-loss whichever."""
    option = "--min-accuracy" if limits.min_accuracy else "--max-accuracy-loss"
    asked = {each.task for cell in summaries for each in cell.accuracy.by_task}
    lacking = [task for task, _ in limits.min_accuracy if task not in asked]
    if asked and not lacking:
        return
    models = " ".join(
        dict.fromkeys(clean(cell.artifact.model) for cell in summaries if cell.artifact.weights == "real")
    )
    if summaries and not models:
        raise UserError(f"{option} needs measured accuracy, and synthetic weights have none; remove {option}")
    tasks = ",".join(lacking) or "offline"
    has = f"has none in {', '.join(lacking)}" if asked else "has none"
    raise UserError(
        f"{option} needs measured accuracy, and {results_name} {has}; measure it first: "
        f"slmprof tasks {models} --tasks {tasks} -o {results_name}"
    )


def _requests(groups: list[list[CellSummary]], notes: list[str], results_name: str) -> list[list[CellSummary]]:
    """Return the groups that have a time to first token, and add a note on the others."""
    kept = [group for group in groups if group[0].config.mode == "request"]
    if groups and not kept:
        raise UserError(
            "--max-ttft needs a request workload, and only prefill and decode were measured, separately; add one: "
            f"slmprof profile SOURCE --workload chat -o {results_name}"
        )
    if left := sorted({clean(group[0].config.workload) for group in groups if group[0].config.mode != "request"}):
        notes.append(f"skipped, without a time to first token: {', '.join(left)}")
    return kept


def _unscored_caches(summaries: Sequence[CellSummary]) -> list[str]:
    """Return a note on KV caches without measured quality, of files that have it with another."""
    scored = {cell.artifact.sha256 for cell in summaries if cell.quality.kld is not None}
    lacking = {
        cell.config.cache
        for cell in summaries
        if cell.quality.kld is None and cell.artifact.sha256 in scored and cell.status == "ok"
    }
    if not lacking:
        return []
    names = clean(", ".join(sorted(map(str, lacking))))
    return [f"KV cache {names}: no KLD was measured with it; slmprof quality --ctk and --ctv measures it"]


def _beyond_training(summaries: Sequence[CellSummary], n_ctx: int | None) -> list[str]:
    """Return a note on each model that was not trained on contexts as long as the requested or the measured one."""
    longest = {
        (cell.artifact.model, cell.artifact.shape.n_ctx_train): n_ctx or cell.config.n_ctx
        for cell in sorted(summaries, key=lambda cell: cell.config.n_ctx)
        if cell.artifact.shape is not None
    }
    found = [beyond_training(clean(model), most, trained) for (model, trained), most in longest.items()]
    return [line for line in found if line]


def _separations(choices: Sequence[Choice]) -> list[str]:
    """Return notes on what does not compete with each other, and how to select one."""
    notes = []
    if len(found := {each.env_id for each in choices}) > 1:
        notes.append(f"{len(found)} environments: each has its own choice; pass the results of one for a single answer")
    if len(found := {each.model for each in choices}) > 1:
        notes.append(
            f"{len(found)} models: each has its own choice, since no figure here compares what models can do; "
            "--model NAME selects one"
        )
    if len(found := {each.workload for each in choices}) > 1:
        notes.append(f"{len(found)} workloads: each has its own choice; --workload NAME selects one")
    if len({each.weights for each in choices}) > 1:
        notes.append("real and synthetic weights: each has its own choice")
    return notes


class _Judged(msgspec.Struct, frozen=True, kw_only=True):
    """The candidates of one choice, and which of them meet the limits."""

    cells: dict[str, CellSummary]  # by cell_key
    everyone: list[Candidate]
    pool: list[Candidate]  # measured
    fitting: list[Candidate]  # of the pool: meet all limits, and the bar of quality
    missed: dict[str, tuple[Miss, ...]]  # of the pool, by cell_key
    by_speed: bool  # speed comes before quality
    no_bar: bool  # no cell has the quality that a choice by speed needs, so that quality comes first


def _judge(group: Sequence[CellSummary], criteria: Criteria) -> _Judged:
    limits = criteria.limits
    cells = {cell.cell_key: cell for cell in group}
    everyone = candidates_of(group, limits.n_ctx, as_measured=criteria.flagged)
    pool = [each for each in everyone if cells[each.cell_key].status == "ok"]
    missed = {each.cell_key: misses(each, limits) for each in pool}
    by_speed = criteria.order is None and goal_of(limits) == "speed"
    has_bar = by_speed and not limits.bounds_quality
    no_bar = has_bar and all(below_bar(each, limits) for each in pool)
    if has_bar and not no_bar:
        missed = {each.cell_key: below_bar(each, limits) for each in pool}
    return _Judged(
        cells=cells,
        everyone=everyone,
        pool=pool,
        fitting=[each for each in pool if not missed[each.cell_key]],
        missed=missed,
        by_speed=by_speed and not no_bar,
        no_bar=no_bar,
    )


def _choose(group: Sequence[CellSummary], criteria: Criteria) -> Choice:
    first, judged = group[0], _judge(group, criteria)
    pool, fitting, missed = judged.pool, judged.fitting, judged.missed
    basis = basis_of(fitting or pool)
    ranked = rank(fitting, basis, criteria.order, by_speed=judged.by_speed)
    near = near_misses(pool, missed, {each.artifact_sha256 for each in fitting})
    chosen = ranked[0].candidate if ranked else None
    relax = None if ranked else smallest_relaxation(pool, missed, criteria.order)
    if ranked:
        reason = reason_of(ranked, basis, criteria, no_bar=judged.no_bar)
    else:
        reason = why_nothing_fits(pool, criteria.limits, near, relax)
    return Choice(
        env_id=first.env_id,
        device=first.config.device,
        model=first.artifact.model,
        weights=first.artifact.weights,
        standin_for=first.artifact.standin_for,
        n_params=first.artifact.n_params,
        n_params_active=first.artifact.n_params_active,
        mode=first.config.mode,
        workload=first.config.workload,
        n_prompt=first.config.n_prompt,
        n_gen=first.config.n_gen,
        n_depth=first.config.n_depth,
        sustain_s=first.config.sustain_s,
        quality_basis=basis,
        n_considered=len(pool),
        n_fitting=len(fitting),
        chosen=chosen,
        reason=reason,
        tied=tuple(each.candidate.name for each in ranked[1:] if _tied(each.candidate, ranked[0].candidate)),
        runners_up=_runners_up(ranked),
        near_misses=near,
        left_out=_excluded(judged),
        disturbed=disturbed_of(ranked),
        relax=relax,
        command=_rerun(chosen, judged, criteria) if chosen else None,
    )


def _rerun(chosen: Candidate, judged: _Judged, criteria: Criteria) -> str:
    """Return the command that re-measures the choice, at the requested context where its memory is an estimate."""
    n_ctx = criteria.limits.n_ctx if chosen.memory_estimated else None
    return command_of(judged.cells[chosen.cell_key], n_ctx)


def _tied(one: Candidate, other: Candidate) -> bool:
    one_within, other_within = one.speed_within, other.speed_within
    return one_within is not None and other_within is not None and one_within.overlaps(other_within)


def _runners_up(ranked: Sequence[Ranked]) -> tuple[RunnerUp, ...]:
    best: dict[str, RunnerUp] = {}
    for each in ranked[1:]:
        other, chosen = each.candidate, ranked[0].candidate
        if other.artifact_sha256 != chosen.artifact_sha256 and other.artifact_sha256 not in best:
            best[other.artifact_sha256] = RunnerUp(candidate=other, text=against(other, chosen))
    return tuple(best.values())


def _excluded(judged: _Judged) -> tuple[Excluded, ...]:
    """Return the cells that were not measured successfully."""
    considered = {each.cell_key for each in judged.pool}
    found = []
    for each in judged.everyone:
        if each.cell_key not in considered:
            cell = judged.cells[each.cell_key]
            why = f"{cell.status}: {clean(cell.error or '?')}"
            found.append(Excluded(cell_key=each.cell_key, name=each.name, why=why))
    return tuple(found)


def narrowed(
    summaries: Sequence[CellSummary], *, model: str | None = None, workload: str | None = None
) -> list[CellSummary]:
    """Return the cells of one model and one workload; case does not matter.

    Args:
        model: the model's name, its file's with or without ".gguf", or the name in the file's header.

    Raises:
        UserError: no cell matches.
    """
    kept = list(summaries)
    for option, names, wanted in (("--model", _model_names, model), ("--workload", _workload_names, workload)):
        if wanted is None:
            continue
        there = list(dict.fromkeys(names(cell)[0] for cell in kept))
        kept = _of_name(kept, names, wanted.strip().lower())
        if not kept:
            raise UserError(f"no cell has {option} {wanted}; the results hold {', '.join(there) or 'nothing'}")
    return kept


def _of_name(
    cells: Sequence[CellSummary], names: Callable[[CellSummary], tuple[str, ...]], wanted: str
) -> list[CellSummary]:
    """Return the cells of a name: of the first sort of names in which any has it."""
    for sort in zip(*(names(cell) for cell in cells), strict=True):
        found = [cell for cell, name in zip(cells, sort, strict=True) if name.lower() == wanted]
        if found:
            return found
    return []


def _model_names(cell: CellSummary) -> tuple[str, ...]:
    file = cell.artifact
    return (
        clean(file.model),
        clean(file.file_name),
        clean(stem_of(Path(file.file_name))),
        clean(file.general_name or ""),
    )


def _workload_names(cell: CellSummary) -> tuple[str, ...]:
    return (clean(cell.config.workload),)
