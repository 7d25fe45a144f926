"""llama.cpp's dry run of levels in this process, with or without an importance matrix."""

from collections.abc import Sequence
from pathlib import Path

from quant.gguf_io.header import GgufHeader
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.quantize.dry_run import Plan, plan_of
from quant.quantize.llama_process import outcomes_of
from quant.quantize.llama_worker import Event, Job, work


def dry_runs(header: GgufHeader, levels: Sequence[str], imatrix: Path | None) -> dict[str, Plan | str]:
    """Plan each level; for one that llama.cpp refuses, return its reason.

    Raises:
        UserError: the job cannot be done at all, or the log cannot be read.
    """
    events: list[Event] = []
    ftypes = tuple(LEVEL_BY_NAME[level].ftype for level in levels)
    job = Job(source=str(header.paths[0]), ftypes=ftypes, imatrix=str(imatrix) if imatrix else None)
    work(job, events.append)
    return {
        level: _reason(outcome.log) if outcome.refusal else plan_of(outcome.log, header, level)
        for level, outcome in zip(levels, outcomes_of(job, events), strict=True)
    }


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2][:200] if lines else "llama.cpp gave no reason"
