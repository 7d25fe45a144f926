"""From a checkpoint to files at several levels in one pass, without an unquantized file in between.

The type of each tensor is llama.cpp's own choice: its dry run on a file that has the header of the lossless conversion
and a hole where the weights would be. The bytes are its own too: ggml quantizes, some rows at a time, in all threads.
So each file equals, tensor for tensor, what llama_model_quantize makes of the lossless conversion.
"""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from quant.base.child import Child
from quant.base.cpus import usable_cpus
from quant.base.errors import UserError
from quant.base.files import atomic_path, require_space
from quant.base.hashes import cached_sha256, remember_sha256
from quant.base.progress import progress, say
from quant.convert.provenance import Origin, TokenCheck
from quant.gguf_io.header import open_gguf_header
from quant.gguf_io.imatrix import keys_of, open_imatrix
from quant.gguf_io.writer import VOCABULARY_BYTES
from quant.quantize.dry_run import Plan
from quant.quantize.level_messages import (
    Finished,
    LevelFile,
    OpenCheckpoint,
    Opened,
    OpenShape,
    Refused,
    Reply,
    Step,
    WriteLevels,
)
from quant.quantize.levels_of_gguf import check_imatrix, choose_levels, plans
from quant.quantize.llama_process import PLANNER, ending_message

_REPLIES: msgspec.json.Decoder[Reply] = msgspec.json.Decoder(Reply)


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """The file of one level."""

    level: str
    path: Path
    fallbacks: dict[str, int]  # "q4_K -> q5_0" -> number of tensors
    n_overflowed: int = 0  # finite values that are infinite in float16, in all files of the call
    tokens: TokenCheck | None = None  # None: synthetic weights, without a tokenizer


class LevelWriter:
    """A source that is open in a process of its own, which writes its files; use it in a `with` block.

    Args:
        module: of the process; it serves with quant/quantize/level_worker.py.
        name: of the source, for messages.
        opening: makes the first request, with the path of the file without weights.

    Raises:
        UserError: the source is broken, or its architecture or tokenizer is unknown.
    """

    def __init__(self, module: str, name: str, opening: Callable[[str], OpenCheckpoint | OpenShape]) -> None:
        self._module, self._name, self._opening = module, name, opening
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slmprof.")))
            self.header = folder / "header.gguf"
            # Started now, it has loaded llama.cpp by the time that the source is open.
            self._planner: Child | None = stack.enter_context(Child(PLANNER))
            self._child = stack.enter_context(Child(self._module))
            self._child.send(self._opening(str(self.header)))
            opened = self._receive()
            assert isinstance(opened, Opened)
            for note in opened.notes:
                say(note)
            self.stem = opened.stem  # of the files' names, by gguf's convention
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def levels(self, text: str, *, imatrix: Path | None = None) -> list[str]:
        """Read a list of levels; from a group, those that cannot be made are skipped.

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
    ) -> list[Written]:
        """Write the file of each level, all in one pass, each whole or not at all. To be called once.

        Raises:
            UserError: a level needs an importance matrix, the disk is too small or cannot be written, or the weights
                hold what cannot be stored.
        """
        planner, self._planner = self._planner, None
        planned = plans(self.header, list(levels), imatrix=imatrix, planner=planner)
        check_imatrix(self._name, open_gguf_header(self.header), imatrix, planned)
        targets = [target_of(plan.level) for plan in planned]
        need_bytes = sum(plan.file_bytes + VOCABULARY_BYTES for plan in planned)
        require_space(targets[0].parent, need_bytes, f"quantizing to {', '.join(levels)}")
        with ExitStack() as stack:
            parts = [stack.enter_context(atomic_path(target, read_again=True)) for target in targets]
            # Before unfinished files are removed, the process must be gone: it would begin the next file.
            stack.callback(self._child.close)
            self._child.send(
                WriteLevels(
                    files=tuple(
                        LevelFile(level=plan.level, path=str(part), types=plan.types)
                        for plan, part in zip(planned, parts, strict=True)
                    ),
                    n_threads=n_threads or usable_cpus(),
                    imatrix=str(imatrix) if imatrix else None,
                    imatrix_keys=keys_of(open_imatrix(imatrix), cached_sha256([imatrix])) if imatrix else {},
                )
            )
            finished = self._finish(f"quantize {', '.join(levels)}")
            # While it runs, it takes the end of its stdin for that of its parent, and removes its files.
            self._child.wait()
            for plan, part in zip(planned, parts, strict=True):
                _verify(part, plan)
        for target, sha256 in zip(targets, finished.sha256, strict=False):
            remember_sha256(target, sha256)
        return [
            Written(
                level=plan.level,
                path=target,
                fallbacks=plan.fallbacks,
                n_overflowed=finished.n_overflowed,
                tokens=finished.tokens,
            )
            for plan, target in zip(planned, targets, strict=True)
        ]

    def _finish(self, stage: str) -> Finished:
        while not isinstance(reply := self._receive(), Finished):
            assert isinstance(reply, Step)
            progress(stage, reply.done, reply.total)
        return reply

    def _receive(self) -> Reply:
        """Read one reply.

        Raises:
            UserError: the process refuses the request, or ended.
        """
        try:
            reply = _REPLIES.decode(self._child.receive())
        except msgspec.DecodeError as error:
            raise UserError(ending_message(f"making files of {self._name}", self._child.wait())) from error
        if isinstance(reply, Refused):
            raise UserError(reply.reason)
        return reply


def checkpoint_writer(
    checkpoint: Path,
    *,
    pre: str | None = None,
    origin: Origin | None = None,
    adapter: Path | None = None,
    allow_token_mismatch: bool = False,
) -> LevelWriter:
    """Return a writer of a checkpoint's files.

    Args:
        adapter: the folder of a LoRA adapter to merge.
        allow_token_mismatch: convert although llama.cpp's tokens differ; the files record it.
    """
    return LevelWriter(
        "quant.quantize.from_checkpoint_worker",
        str(checkpoint),
        lambda header: OpenCheckpoint(
            checkpoint=str(checkpoint),
            header=header,
            pre=pre,
            adapter=str(adapter) if adapter else None,
            origin=origin or Origin(),
            allow_token_mismatch=allow_token_mismatch,
        ),
    )


def _verify(part: Path, plan: Plan) -> None:
    """Make sure that the file is whole and as planned, before it takes its name."""
    types = {tensor.name: tensor.type.name for tensor in open_gguf_header(part).tensors}
    assert types == plan.types, f"{plan.level} has other types than planned"
