"""The parent's side of the quantizing worker: start it, pass on its progress, name what ended it."""

import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from quant._quantize_worker import Event, Job
from quant.child import child_command, child_environment, last_words, one_line, signal_name, tail_of
from quant.errors import UserError
from quant.levels import LEVEL_BY_FTYPE

_PROGRESS = re.compile(r"^\[ *(\d+)/ *(\d+)\]")
_REASON = re.compile(r"failed to quantize: (.+)")
_MESSAGE_CHARS = 300


@dataclass(frozen=True)
class Outcome:
    """One level's end: what llama.cpp logged, and why it refused, if it did."""

    log: str
    refusal: str | None


def run_job(job: Job, on_tensor: Callable[[int, int], None]) -> list[Outcome]:
    """Run a job to its end and give the outcome of each of its levels.

    Args:
        on_tensor: told the number of the tensor that is begun, and how many there are.

    Raises:
        UserError: the job cannot be done at all, or the process ended before the job did.
    """
    with tempfile.TemporaryFile() as stderr:
        process = subprocess.Popen(  # noqa: S603  this program itself
            child_command("quant._quantize_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=child_environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(BrokenPipeError):
                process.stdin.write(msgspec.json.encode(job) + b"\n")
                process.stdin.flush()
            outcomes = _follow(process.stdout, job, on_tensor)
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            with suppress(BrokenPipeError):
                process.stdin.close()
            process.stdout.close()
        if status != 0 or len(outcomes) != len(job.ftypes):
            raise UserError(_ending(job, status, stderr))
    return outcomes


def _follow(stdout: IO[bytes], job: Job, on_tensor: Callable[[int, int], None]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    pieces: list[str] = []
    for line in stdout:
        try:
            event = msgspec.json.decode(line, type=Event)
        except msgspec.DecodeError:
            break  # the process died in the middle of a line
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
    reason = (reasons or lines or ["it gave no reason"])[-1].strip()[:_MESSAGE_CHARS]
    if job.out and "iostream" in reason:
        return f"cannot write {Path(job.out).parent}: the disk is full or failing; free space or choose another -o"
    if "requires an imatrix" in reason or "importance matrix" in reason:
        return f"{job.source}: {reason}; give --imatrix FILE"
    level = LEVEL_BY_FTYPE[ftype].name
    return f"llama.cpp cannot make {level} of {job.source}: {reason}; choose another level, or check the file"


def _ending(job: Job, status: int, stderr: IO[bytes]) -> str:
    return ending_of(f"quantizing {job.source}", status, stderr)


def ending_of(work: str, status: int, stderr: IO[bytes]) -> str:
    """Say in one line how a process that quantized ended before its work did."""
    name = signal_name(status)
    if name in ("SIGKILL", "SIGTERM"):
        return (
            f"{work} was killed from outside, most often because memory ran out; "
            "free memory or quantize on another machine"
        )
    words = one_line(last_words(tail_of(stderr))) or name or f"status {status}"
    return f"llama.cpp gave up {work}: {words}; check the file, or convert it again"
