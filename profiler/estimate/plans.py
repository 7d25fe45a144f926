"""Every level's plan of one header in the process that asks: llama.cpp's dry run, with or without an imatrix."""

import io
from collections.abc import Sequence
from pathlib import Path

import msgspec

from quant.base.errors import UserError
from quant.gguf_io.header import GgufHeader
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.quantize.dry_run import Plan, plan_of
from quant.quantize.llama_worker import Event, Job, work


def dry_runs(header: GgufHeader, levels: Sequence[str], imatrix: Path | None) -> dict[str, Plan | str]:
    """Plan each level; in the place of one that llama.cpp refuses stands its reason.

    Raises:
        UserError: the job cannot be begun, or the log cannot be read.
    """
    answer = io.BytesIO()
    ftypes = tuple(LEVEL_BY_NAME[level].ftype for level in levels)
    work(Job(source=str(header.paths[0]), ftypes=ftypes, imatrix=str(imatrix) if imatrix else None), answer)
    found: dict[str, Plan | str] = {}
    pieces: list[str] = []
    decoder = msgspec.json.Decoder(Event)
    waiting = iter(levels)
    for line in answer.getvalue().splitlines():
        event = decoder.decode(line)
        if event.refusal:
            raise UserError(event.refusal)
        if event.text:
            pieces.append(event.text)
        if event.status is not None:
            level, log, pieces = next(waiting), "".join(pieces), []
            found[level] = _reason(log) if event.status else plan_of(log, header, level)
    return found


def _reason(log: str) -> str:
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1].rpartition(": ")[2][:200] if lines else "llama.cpp gave no reason"
