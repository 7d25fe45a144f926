"""The parent's side of the quantizing worker: run a job, report its progress, name what ended it."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec

from quant.base.child import Child, Ending
from quant.base.errors import UserError
from quant.base.text import message_line
from quant.gguf_io.levels import LEVEL_BY_FTYPE
from quant.quantize.llama_worker import Event, Job

PLANNER = "quant.quantize.llama_worker"  # module
_PROGRESS = re.compile(r"^\[ *(\d+)/ *(\d+)\]")
_REASON = re.compile(r"failed to quantize: (.+)")
_MESSAGE_CHARS = 300


@dataclass(frozen=True)
class Outcome:
    """How one level ended: what llama.cpp logged, and why it refused, if it did."""

    log: str
    refusal: str | None


def run_job(job: Job, on_tensor: Callable[[int, int], None], child: Child | None = None) -> list[Outcome]:
    """Run a job to its end and return the outcome of each of its levels.

    Args:
        on_tensor: called with the number of the tensor that is begun, and how many there are.
        child: a process of PLANNER that was started earlier, so that its start costs no time now.

    Raises:
        UserError: the job cannot be done at all, or the process ended before the job did.
    """
    with closing(child or Child(PLANNER)) as child:
        child.send(job)
        outcomes = outcomes_of(job, _events(child), on_tensor)
        ending = child.wait()
    if ending.status != 0 or len(outcomes) != len(job.ftypes):
        raise UserError(ending_message(f"quantizing {job.source}", ending))
    return outcomes


def _events(child: Child) -> Iterator[Event]:
    decoder = msgspec.json.Decoder(Event)
    while line := child.receive():
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError:
            return  # the process died in the middle of a line


def outcomes_of(
    job: Job, events: Iterable[Event], on_tensor: Callable[[int, int], None] = lambda done, total: None
) -> list[Outcome]:
    """Collect the outcome of each level of a job from what its worker sends.

    Raises:
        UserError: the job cannot be done at all.
    """
    outcomes: list[Outcome] = []
    pieces: list[str] = []
    for event in events:
        if event.refusal:
            raise UserError(event.refusal)
        if event.text:
            pieces.append(event.text)
            if match := _PROGRESS.match(event.text):
                on_tensor(int(match[1]), int(match[2]))
        if event.status is not None:
            log, pieces = "".join(pieces), []
            refusal = _refusal(job, job.ftypes[len(outcomes)], log) if event.status else None
            outcomes.append(Outcome(log, refusal))
    return outcomes


def _refusal(job: Job, ftype: int, log: str) -> str:
    reasons = _REASON.findall(log)
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    reason = (reasons or lines or ["llama.cpp gave no reason"])[-1].strip()[:_MESSAGE_CHARS]
    if job.out and "iostream" in reason:
        return f"cannot write {Path(job.out).parent}: the disk is full or failing; free space or choose another -o"
    if "requires an imatrix" in reason or "importance matrix" in reason:
        return f"{job.source}: {reason}; give --imatrix FILE"
    level = LEVEL_BY_FTYPE[ftype].name
    return f"llama.cpp cannot make {level} of {job.source}: {reason}; choose another level, or check the file"


def ending_message(work: str, ending: Ending) -> str:
    """Return in one line how a process that quantized ended before its work did."""
    if ending.killed_from_outside:
        return (
            f"{work} was killed from outside, most often because memory ran out; "
            "free memory or quantize on another machine"
        )
    reason = message_line(ending.error_line) or ending.signal or f"status {ending.status}"
    return f"llama.cpp failed at {work}: {reason}; check the file, or convert it again"
