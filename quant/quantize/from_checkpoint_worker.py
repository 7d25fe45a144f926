"""One process that makes the files of several levels from a checkpoint: JSON lines in, JSON lines out.

Run as `python -m quant.quantize.from_checkpoint_worker`. The first line opens the checkpoint and writes a file that
has the header of the lossless conversion and a hole for the weights, of which llama.cpp is then asked what it would
make of it. The second line says which types each level has, and where its file goes.
"""

import os
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.child import die_with_parent, end_child, prepare_child
from quant.base.errors import UserError
from quant.base.files import write_in_steps
from quant.convert.layout import Job, Layout, open_layout
from quant.convert.origin import Origin
from quant.convert.row_chunks import n_rows, piece_type, pieces, read_piece, row_length
from quant.convert.sparse_gguf import write_hole
from quant.gguf_io.file_name import file_stem
from quant.gguf_io.floats import convert_floats, n_overflowed
from quant.gguf_io.imatrix import open_imatrix, read_imatrix
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import Keys, compose_header, n_padding
from quant.quantize.kernels import prepare, quantize_rows

_PIECE_ELEMENTS = 1 << 20  # 4 MiB as float32
_MOST_WAITING = 24  # pieces, of at most some 5 MiB even at ten levels, until the vocabulary is read


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: open a checkpoint, write the file without weights."""

    checkpoint: str
    header: str
    pre: str | None = None
    origin: Origin = Origin()


class LevelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A level's file to be."""

    level: str
    path: str
    types: dict[str, str]  # tensor -> ggml type


class Writing(msgspec.Struct, frozen=True, kw_only=True):
    """The second line: make the files."""

    files: tuple[LevelFile, ...]
    n_threads: int
    imatrix: str | None = None
    imatrix_keys: dict[str, str | int] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One of these: the files' name; so many values are done; a line for the user; what the user must mend."""

    stem: str | None = None  # the checkpoint is open; the name that its files are to have, without the level
    done: int | None = None
    total: int = 0
    overflowed: int | None = None  # in float16; comes last
    sha256: tuple[str, ...] = ()  # of the files, where it was computed on the way
    refusal: str | None = None


def write_levels(layout: Layout, keys: Future[Keys], job: Writing, tell: "Teller") -> int:
    """Make all files in one pass; give the number of values that became infinite in float16.

    The weights do not wait for the keys: the first pieces are quantized while the vocabulary is read.
    """
    importance = read_imatrix(open_imatrix(Path(job.imatrix))) if job.imatrix else {}
    prepare({kind for file in job.files for kind in file.types.values() if TYPE_BY_NAME[kind].is_quantized})
    total = sum(each.planned.n_elements for each in layout.jobs)
    done = overflowed = 0
    files: list[BinaryIO] = []
    try:
        for each in job.files:
            opened: BinaryIO = Path(each.path).open("wb")  # noqa: SIM115  closed below
            files.append(opened)
        with ThreadPoolExecutor(job.n_threads) as pool:
            waiting: list[tuple[Job, int, int, Future[tuple[dict[str, NDArray[np.uint8]], int]]]] = []

            def write_headers() -> None:
                for each, file in zip(job.files, files, strict=True):
                    ftype, entries = LEVEL_BY_NAME[each.level].ftype, layout.entries(each.types)
                    file.write(compose_header(keys.result(), entries, file_type=ftype, more=job.imatrix_keys))
                    file.write(layout.extra_data())

            def write_first() -> None:
                nonlocal done, overflowed
                if not done:
                    write_headers()
                tensor, first, last, future = waiting.pop(0)
                made, lost = future.result()
                for each, file in zip(job.files, files, strict=True):
                    write_in_steps(file, made[each.types[tensor.target]].data)
                    if last == n_rows(tensor):
                        file.write(b"\0" * n_padding(file.tell()))
                done += (last - first) * row_length(tensor)
                overflowed += lost
                tell(Event(done=done, total=total))

            for tensor in layout.jobs:
                kinds = {file.types[tensor.target] for file in job.files}
                columns = _importance_of(tensor, importance)
                for first, last in pieces(tensor, _PIECE_ELEMENTS):
                    future = pool.submit(_made, tensor, first, last, kinds, columns)
                    waiting.append((tensor, first, last, future))
                    if len(waiting) > (2 * job.n_threads if keys.done() else _MOST_WAITING):
                        write_first()
            while waiting:
                write_first()
    finally:
        for file in files:
            file.close()
    return overflowed


def _importance_of(tensor: Job, importance: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
    found = importance.get(tensor.target)
    return found if found is not None and found.size == row_length(tensor) else None


def _made(
    tensor: Job, first: int, last: int, kinds: set[str], columns: NDArray[np.float32] | None
) -> tuple[dict[str, NDArray[np.uint8]], int]:
    """Give rows of a tensor in every type that some level wants; a type that two levels want is made once."""
    values, source = read_piece(tensor, first, last), piece_type(tensor)
    made: dict[str, NDArray[np.uint8]] = {}
    wide: NDArray[np.float32] | None = None
    lost = 0
    for kind in kinds:
        if TYPE_BY_NAME[kind].is_quantized:
            if wide is None:
                wide = np.ascontiguousarray(convert_floats(values, source, "F32"))
            made[kind] = quantize_rows(wide, row_length(tensor), kind, columns)
        else:
            floats = np.ascontiguousarray(convert_floats(values, source, kind.upper()))
            lost += n_overflowed(values, source, floats, kind.upper())
            made[kind] = floats.view(np.uint8)
    return made, lost


class Teller:
    """Write events as JSON lines."""

    def __init__(self, answer: BinaryIO) -> None:
        self._answer = answer

    def __call__(self, event: Event) -> None:
        self._answer.write(msgspec.json.encode(event) + b"\n")
        self._answer.flush()


def main() -> None:
    """Read the two lines, do what they say, one after the other."""
    tell = Teller(prepare_child())
    stdin = sys.stdin.buffer
    try:
        opening = msgspec.json.decode(stdin.readline(), type=Opening)
        layout = open_layout(Path(opening.checkpoint), pre=opening.pre, origin=opening.origin)
        write_hole(layout, Path(opening.header))
        tell(Event(stem=file_stem(opening.origin.model or Path(opening.checkpoint).name, layout.n_params)))
        with ThreadPoolExecutor(1) as reader:
            keys = reader.submit(lambda: layout.keys)
            line = stdin.readline()
            if not line:
                os._exit(0)  # the parent wants no files after all
            writing = msgspec.json.decode(line, type=Writing)
            die_with_parent(stdin, [file.path for file in writing.files])
            tell(Event(overflowed=write_levels(layout, keys, writing, tell)))
    except UserError as error:
        tell(Event(refusal=str(error)))
    except OSError as error:
        tell(Event(refusal=f"cannot write: {error.strerror}; free space or choose another -o"))
    end_child()


if __name__ == "__main__":
    main()
