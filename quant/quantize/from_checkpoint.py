"""From a checkpoint to files at several levels in one pass, with nothing unquantized written in between.

The type of each tensor is llama.cpp's own choice: its dry run on a file that has the header of the lossless conversion
and a hole where the weights would be. The bytes are its own too: ggml quantizes, some rows at a time, in all threads.
So each file equals, tensor for tensor, what llama_model_quantize makes of the lossless conversion.
"""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Self

import msgspec

from quant.base.child import child_command, child_environment
from quant.base.cpus import usable_cpus
from quant.base.errors import UserError
from quant.base.files import atomic_path, require_space
from quant.base.hashes import cached_sha256, remember_sha256
from quant.base.progress import Progress, silent
from quant.convert.origin import Origin
from quant.gguf_io.header import open_gguf_header
from quant.gguf_io.imatrix import keys_of, open_imatrix
from quant.gguf_io.writer import VOCABULARY_BYTES
from quant.quantize.dry_run import Plan
from quant.quantize.levels_of_gguf import check_imatrix, choose_levels, plans
from quant.quantize.llama_process import Started, ending_of


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """One level's file."""

    level: str
    path: Path
    fallbacks: dict[str, int]  # "q4_K -> q5_0" -> number of tensors
    n_overflowed: int = 0  # finite values that are infinite in float16, in all files of the call


class _Ended(msgspec.Struct, frozen=True, kw_only=True):
    """What the process says when all files are written."""

    overflowed: int
    sha256: tuple[str, ...] = ()  # of each file, where it was computed on the way


class Straight:
    """A checkpoint that is open in a process of its own; use it in a `with` block.

    Raises:
        UserError: the checkpoint is broken, or its architecture or tokenizer is unknown.
    """

    _worker = "quant.quantize.from_checkpoint_worker"

    def __init__(self, checkpoint: Path, *, pre: str | None = None, origin: Origin | None = None) -> None:
        self._name = checkpoint
        self._opening: dict[str, object] = {
            "checkpoint": str(checkpoint), "pre": pre, "origin": msgspec.to_builtins(origin or Origin()),
        }  # fmt: skip
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slmprof.")))
            self.header = folder / "header.gguf"
            self._stderr: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
            # Started now, it has loaded llama.cpp by the time that the checkpoint is open.
            self._planner: Started | None = stack.enter_context(closing(Started()))
            self._process = subprocess.Popen(  # noqa: S603  this program itself
                child_command(self._worker),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=child_environment(),
            )
            stack.callback(self._end)
            self._send({**self._opening, "header": str(self.header)})
            stem = self._next().get("stem")
            if not isinstance(stem, str):
                raise UserError(self._ending())
            self.stem = stem  # of the files' names, by gguf's convention
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def levels(self, text: str, *, imatrix: Path | None = None) -> list[str]:
        """Read a list of levels; what a group's name brings in is left out where it cannot be made.

        Raises:
            UserError: a level does not exist, or nothing is left.
        """
        return choose_levels(self.header, text, imatrix=imatrix)

    def write(
        self,
        levels: Sequence[str],
        target_of: Callable[[str], Path],
        *,
        imatrix: Path | None = None,
        n_threads: int | None = None,
        progress: Progress = silent,
    ) -> list[Written]:
        """Make the file of each level, all in one pass, each whole or not at all. To be called once.

        Raises:
            UserError: a level needs an importance matrix, the disk is too small or cannot be written, or the weights
                hold what cannot be stored.
        """
        planner, self._planner = self._planner, None
        planned = plans(self.header, list(levels), imatrix=imatrix, started=planner)
        check_imatrix(self._name, open_gguf_header(self.header), imatrix, planned)
        targets = [target_of(plan.level) for plan in planned]
        need_bytes = sum(plan.file_bytes + VOCABULARY_BYTES for plan in planned)
        require_space(targets[0].parent, need_bytes, f"quantizing to {', '.join(levels)}")
        with ExitStack() as stack:
            parts = [stack.enter_context(atomic_path(target)) for target in targets]
            # Before what is unfinished is removed, the process must be gone: it would begin the next file.
            stack.callback(self._end)
            self._send(
                {
                    "files": [
                        {"level": plan.level, "path": str(part), "types": plan.types}
                        for plan, part in zip(planned, parts, strict=True)
                    ],
                    "n_threads": n_threads or usable_cpus(),
                    "imatrix": str(imatrix) if imatrix else None,
                    "imatrix_keys": keys_of(open_imatrix(imatrix), cached_sha256([imatrix])) if imatrix else {},
                }
            )
            ended = self._follow(f"quantize {', '.join(levels)}", progress)
            # While it lives, it takes the end of its stdin for that of its parent, and removes its files.
            self._process.wait()
            for plan, part in zip(planned, parts, strict=True):
                _verify(part, plan)
        for target, sha256 in zip(targets, ended.sha256, strict=False):
            remember_sha256(target, sha256)
        return [
            Written(level=plan.level, path=target, fallbacks=plan.fallbacks, n_overflowed=ended.overflowed)
            for plan, target in zip(planned, targets, strict=True)
        ]

    def _follow(self, stage: str, progress: Progress) -> "_Ended":
        while True:
            event = self._next()
            if "overflowed" in event:
                return msgspec.convert(event, _Ended)
            if "done" not in event:
                raise UserError(self._ending())
            progress(stage, int(event["done"]), int(event["total"]))  # type: ignore[call-overload]

    def _send(self, message: dict[str, object]) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(msgspec.json.encode(message) + b"\n")
            self._process.stdin.flush()

    def _next(self) -> dict[str, object]:
        """Read one event; empty where the process has ended.

        Raises:
            UserError: the process says what the user must mend.
        """
        assert self._process.stdout is not None
        try:
            event: dict[str, object] = msgspec.json.decode(self._process.stdout.readline(), type=dict[str, object])
        except msgspec.DecodeError:
            return {}
        if "refusal" in event:
            raise UserError(str(event["refusal"]))
        return event

    def _ending(self) -> str:
        return ending_of(f"making files of {self._name}", self._process.wait(), self._stderr)

    def _end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def _verify(part: Path, plan: Plan) -> None:
    """Make sure that the file is whole and as planned, before it takes its name."""
    types = {tensor.name: tensor.type.name for tensor in open_gguf_header(part).tensors}
    assert types == plan.types, f"{plan.level} has other types than planned"
