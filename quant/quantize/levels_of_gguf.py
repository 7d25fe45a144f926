"""From one GGUF file to others at the requested levels, by llama.cpp's own quantizer.

All levels are checked before the first is written. Work is identified by content: the same file at the same level is
made once. Memory stays near the quantizer's row buffer and the largest row, whatever the model's size.
"""

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quant.base.child import Child
from quant.base.cpus import usable_cpus
from quant.base.errors import UserError
from quant.base.files import atomic_path, part_prefix, require_space
from quant.base.hashes import cached_sha256
from quant.base.llama_package import llama_build
from quant.base.locks import alone
from quant.base.progress import progress, say
from quant.gguf_io.artifact import Artifact, artifact_of, open_model
from quant.gguf_io.finite import refuse_not_finite
from quant.gguf_io.header import GgufHeader, open_gguf_header
from quant.gguf_io.imatrix import open_imatrix, zero_rows
from quant.gguf_io.levels import LEVEL_BY_NAME, file_name, levels_requested_by_name, parse_levels, strip_level
from quant.gguf_io.quantized import QuantizedFacts, key_of, remember, result_of
from quant.gguf_io.shards import stem_of
from quant.quantize.dry_run import Plan, plan_of, tensors_that_misfit, tensors_that_need_imatrix
from quant.quantize.llama_process import run_job
from quant.quantize.llama_worker import Job

_STALE_SECONDS = 3600.0  # a file that is being written changes more often


@dataclass(frozen=True)
class Quantized:
    """The file of one level."""

    level: str
    path: Path
    artifact: Artifact
    cached: bool  # True where nothing had to be done


@dataclass(frozen=True)
class _Work:
    """What all levels of one call have in common."""

    header: GgufHeader
    source_sha256: str
    imatrix: Path | None
    imatrix_sha256: str | None
    n_threads: int

    @property
    def source(self) -> Path:
        return self.header.paths[0]

    def key(self, level: str) -> str:
        imatrix = (self.imatrix.name, self.imatrix_sha256) if self.imatrix else (None, None)
        return key_of(self.source_sha256, level, *imatrix, llama_build())


def quantize(
    source: Path,
    levels: Sequence[str],
    out_dir: Path,
    *,
    imatrix: Path | None = None,
    n_threads: int | None = None,
) -> list[Quantized]:
    """Make `<stem>-<LEVEL>.gguf` in `out_dir` for each level, in their order.

    The source's own level is the source itself, and nothing is written for it. A file of an earlier call is kept if it
    is what this source leads to at this level; another file of that name is replaced. Several processes may do this at
    once.

    Args:
        source: an F32, F16 or BF16 model, or the first of its shards.
        n_threads: all of this process's CPUs where it is None. The bytes do not depend on it.

    Raises:
        UserError: a file is wrong, a level does not exist or needs an importance matrix, the disk is too small or
            cannot be written, or llama.cpp failed.
    """
    names = parse_levels(",".join(levels))
    work = _begin(source, imatrix, n_threads)
    artifact = artifact_of(work.header, work.source_sha256)
    targets = {name: out_dir / file_name(strip_level(stem_of(work.source)), name) for name in names}
    wanted = [name for name in names if name != artifact.level]
    _refuse_requantizing(work.header, artifact, wanted)
    for name in wanted:
        if targets[name].resolve() in {path.resolve() for path in work.header.paths}:
            raise UserError(f"{targets[name]} is the source itself, which is {artifact.level}; choose another -o")
    missing = [name for name in wanted if not _is_done(work, name, targets[name])]
    plans = {plan.level: plan for plan in _plans(work.header, work.imatrix, missing)}
    check_imatrix(work.source, work.header, work.imatrix, list(plans.values()))
    if plans:
        need_bytes = sum(plan.file_bytes for plan in plans.values())
        require_space(out_dir, need_bytes, f"quantizing to {', '.join(plans)}")
        refuse_not_finite(work.header)
    results = []
    for name in names:
        if name == artifact.level:
            results.append(Quantized(name, work.source, artifact, cached=True))
        else:
            written = name in plans and _write(work, plans[name], targets[name])
            header = open_gguf_header(targets[name])
            found = artifact_of(header, cached_sha256(header.paths))
            results.append(Quantized(name, targets[name], found, cached=not written))
    return results


def plans(
    source: Path, levels: Sequence[str], *, imatrix: Path | None = None, planner: Child | None = None
) -> list[Plan]:
    """Plan each level of a file, without writing anything; one process for all, which may have been started before.

    Raises:
        UserError: the file or a level is wrong.
    """
    return _plans(open_gguf_header(source), imatrix, parse_levels(",".join(levels)), planner)


def choose_levels(source: Path, text: str, *, imatrix: Path | None = None) -> list[str]:
    """Read a list of levels for one file; from a group, those that cannot be made are skipped.

    Raises:
        UserError: a level does not exist, the file is wrong, or nothing is left.
    """
    names = parse_levels(text)
    by_name = levels_requested_by_name(text)
    grouped = [name for name in names if name not in by_name]
    if not grouped:
        return names
    tried = _try_plans(open_model(source), imatrix, grouped)
    if all(isinstance(outcome, UserError) for outcome in tried):
        raise next(outcome for outcome in tried if isinstance(outcome, UserError))
    plans = [outcome for outcome in tried if isinstance(outcome, Plan)]
    possible = {plan.level for plan in plans if not plan.needs_imatrix and not plan.is_q8_by_another_name}
    chosen = [name for name in names if name in by_name or name in possible]
    if not chosen:
        raise UserError(f"every level of '{text}' needs an importance matrix; give --imatrix FILE or other levels")
    return chosen


def _begin(source: Path, imatrix: Path | None, n_threads: int | None) -> _Work:
    if n_threads is not None and n_threads < 1:
        raise UserError(f"{n_threads} threads cannot quantize; give 1 or more")
    header = open_model(source)
    if imatrix:
        open_imatrix(imatrix)
    return _Work(
        header=header,
        source_sha256=cached_sha256(header.paths),
        imatrix=imatrix,
        imatrix_sha256=cached_sha256([imatrix]) if imatrix else None,
        n_threads=n_threads or usable_cpus(),
    )


def _refuse_requantizing(header: GgufHeader, artifact: Artifact, wanted: list[str]) -> None:
    if wanted and any(tensor.type.is_quantized for tensor in header.tensors):
        raise UserError(
            f"{header.paths[0]} is already quantized ({artifact.level}), and quantizing it again to "
            f"{', '.join(wanted)} would add its errors; give the F32, F16 or BF16 file, "
            "or the checkpoint to slmprof convert -q"
        )


def _plans(header: GgufHeader, imatrix: Path | None, levels: list[str], planner: Child | None = None) -> list[Plan]:
    plans = []
    for outcome in _try_plans(header, imatrix, levels, planner):
        if isinstance(outcome, UserError):
            raise outcome
        plans.append(outcome)
    return plans


def _try_plans(
    header: GgufHeader, imatrix: Path | None, levels: list[str], planner: Child | None = None
) -> list[Plan | UserError]:
    """Plan each level in one process; for a level that llama.cpp refuses, return the reason."""
    if not levels:
        return []
    job = Job(
        source=str(header.paths[0]),
        ftypes=tuple(LEVEL_BY_NAME[name].ftype for name in levels),
        imatrix=str(imatrix) if imatrix else None,
    )
    return [
        UserError(outcome.refusal) if outcome.refusal else plan_of(outcome.log, header, name)
        for outcome, name in zip(run_job(job, lambda done, total: None, planner), levels, strict=True)
    ]


def check_imatrix(source: Path | str, header: GgufHeader, imatrix: Path | None, plans: Sequence[Plan]) -> None:
    """Refuse all levels before the first is written if one cannot be made.

    Raises:
        UserError: a level needs an importance matrix, or the given one does not fit.
    """
    if imatrix is None:
        if needy := [plan.level for plan in plans if plan.needs_imatrix]:
            raise UserError(
                f"{', '.join(needy)} of {source} cannot be made without an importance matrix; "
                "give --imatrix FILE or other levels"
            )
        return
    opened = open_imatrix(imatrix)
    lengths = {name: entry.n_values for name, entry in opened.entries.items()}
    for plan in plans:
        if misfits := tensors_that_misfit(plan, header, lengths):
            raise UserError(
                f"{imatrix} is for another model: its entry for {misfits[0]} has another length; "
                "give this model's importance matrix"
            )
        if bare := [name for name in tensors_that_need_imatrix(plan, header) if name not in lengths]:
            raise UserError(
                f"{imatrix} has no entry for {bare[0]}, which {plan.level} needs; "
                "make it from a longer text, or give other levels"
            )
    if plans and (zeros := zero_rows(opened)):
        name, n_rows = next(iter(zeros.items()))
        rows = f"{n_rows} of its rows" if n_rows > 1 else "a row"
        others = f" and {len(zeros) - 1} other tensors" if len(zeros) > 1 else ""
        say(f"{imatrix} holds only zeros in {rows} for {name}{others}; they count as ones, as for unused experts")


def _is_done(work: _Work, level: str, target: Path) -> bool:
    """Return whether the target is, byte for byte, what this work led to before."""
    known = result_of(work.key(level))
    if known is None or not target.is_file():
        return False
    return cached_sha256([target]) == known.sha256


def _write(work: _Work, plan: Plan, target: Path) -> bool:
    """Make one file; return False where another process made it meanwhile."""
    with alone(target):
        if _is_done(work, plan.level, target):
            return False
        _remove_stale_parts(target)
        with atomic_path(target, read_again=True) as part:
            job = Job(
                source=str(work.source),
                ftypes=(LEVEL_BY_NAME[plan.level].ftype,),
                out=str(part),
                n_threads=work.n_threads,
                imatrix=str(work.imatrix) if work.imatrix else None,
                imatrix_sha256=work.imatrix_sha256,
            )
            outcome = run_job(job, lambda done, total: progress(f"quantize {plan.level}", done, total))[0]
            if outcome.refusal:
                raise UserError(outcome.refusal)
            _verify(part, plan)
        facts = QuantizedFacts(
            sha256=cached_sha256([target]),
            fallbacks=plan.fallbacks,
            imatrix_sha256=work.imatrix_sha256,
        )
        remember(work.key(plan.level), facts)
        return True


def _verify(part: Path, plan: Plan) -> None:
    """Make sure that the file is whole and as planned, before it takes its name."""
    types = {tensor.name: tensor.type.name for tensor in open_gguf_header(part).tensors}
    if types != plan.types:
        raise UserError(f"llama.cpp wrote other types than its dry run said at {plan.level}; try that level again")


def _remove_stale_parts(target: Path) -> None:
    """Remove what a power cut left of an earlier attempt, under the names that `atomic_path` uses."""
    if not target.parent.is_dir():
        return
    for entry in target.parent.iterdir():
        if entry.name.startswith(part_prefix(target)) and entry.name.endswith(".part"):
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                    entry.unlink()
