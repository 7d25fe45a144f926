"""The parent's side of the quantizing worker: start it, pass on its progress, name what ended it."""

import re
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from quant.base.child import child_command, child_environment, last_words, one_line, signal_name, tail_of
from quant.base.errors import UserError
from quant.gguf_io.levels import LEVEL_BY_FTYPE
from quant.quantize.llama_worker import Event, Job

_PROGRESS = re.compile(r"^\[ *(\d+)/ *(\d+)\]")
_REASON = re.compile(r"failed to quantize: (.+)")
_MESSAGE_CHARS = 300


@dataclass(frozen=True)
class Outcome:
    """One level's end: what llama.cpp logged, and why it refused, if it did."""

    log: str
    refusal: str | None


class Started:
    """A process that has loaded llama.cpp and waits for its job; it serves for one, and is ended if none comes."""

    def __init__(self) -> None:
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115  close() closes it
        self._process = subprocess.Popen(  # noqa: S603  this program itself
            child_command("quant.quantize.llama_worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            env=child_environment(),
        )

    def run(self, job: Job, on_tensor: Callable[[int, int], None]) -> tuple[list[Outcome], int]:
        """Give the job, wait for its end; give the outcome of each of its levels and the exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(job) + b"\n")
            self._process.stdin.flush()
        outcomes = _follow(self._process.stdout, job, on_tensor)
        return outcomes, self._process.wait()

    def close(self) -> None:
        """End the process, whatever it does."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self.stderr.close()


def run_job(job: Job, on_tensor: Callable[[int, int], None], started: Started | None = None) -> list[Outcome]:
    """Run a job to its end and give the outcome of each of its levels.

    Args:
        on_tensor: told the number of the tensor that is begun, and how many there are.
        started: a process that was started earlier, so that its start costs no time now.

    Raises:
        UserError: the job cannot be done at all, or the process ended before the job did.
    """
    with closing(started or Started()) as process:
        outcomes, status = process.run(job, on_tensor)
        if status != 0 or len(outcomes) != len(job.ftypes):
            raise UserError(_ending(job, status, process.stderr))
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
