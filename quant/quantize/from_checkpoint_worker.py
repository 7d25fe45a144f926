"""The process that writes the files of several levels from a checkpoint, in one pass over its weights.

Run as `python -m quant.quantize.from_checkpoint_worker`.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.base.files import write_in_steps
from quant.base.worker import Send
from quant.convert.job import Job
from quant.convert.layout import Layout, open_layout
from quant.convert.provenance import TokenCheck
from quant.convert.row_chunks import chunk_type, n_rows, read_blocks, read_chunk, row_chunks, row_length, source_of
from quant.convert.stored.kept import type_of
from quant.convert.verify.verified import verified_keys
from quant.gguf_io.file_name import file_stem
from quant.gguf_io.floats import convert_floats, n_overflowed
from quant.gguf_io.imatrix import open_imatrix, read_imatrix
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import Keys, compose_header, n_padding
from quant.quantize.kernels import prepare, quantize_rows
from quant.quantize.level_messages import Finished, LevelFile, OpenCheckpoint, Step, WriteLevels
from quant.quantize.level_worker import LevelSource, serve_levels

_KEPT_TYPE = "mxfp4"  # what is stored so is not quantized again
_PIECE_ELEMENTS = 1 << 20  # 4 MiB as float32
_MOST_WAITING = 24  # pieces, of at most some 5 MiB even at ten levels, until the vocabulary is read


class _Quantized(NamedTuple):
    """Some rows of a tensor, in each type that a level stores it in."""

    by_type: dict[str, NDArray[np.uint8]]
    n_overflowed: int


class _Piece(NamedTuple):
    """Some rows of a tensor that are being quantized."""

    tensor: Job
    first: int
    last: int
    quantized: Future[_Quantized]


class _Files:
    """The open files of all levels, which get the same tensors in the same order."""

    def __init__(self, files: Sequence[tuple[LevelFile, BinaryIO]]) -> None:
        self._files = files
        self.n_written = self.n_overflowed = 0  # values

    def write_headers(self, layout: Layout, keys: Keys, imatrix_keys: Mapping[str, str | int]) -> None:
        for level, file in self._files:
            ftype, entries = LEVEL_BY_NAME[level.level].ftype, layout.entries(level.types)
            file.write(compose_header(keys, entries, file_type=ftype, more=imatrix_keys))
            file.write(layout.extra_data())

    def write(self, piece: _Piece) -> None:
        quantized = piece.quantized.result()
        for level, file in self._files:
            write_in_steps(file, quantized.by_type[level.types[piece.tensor.target]].data)
            if piece.last == n_rows(piece.tensor):
                file.write(b"\0" * n_padding(file.tell()))
        self.n_written += (piece.last - piece.first) * row_length(piece.tensor)
        self.n_overflowed += quantized.n_overflowed


def write_levels(layout: Layout, keys: Future[Keys], request: WriteLevels, send: Send) -> int:
    """Write all files in one pass; return the number of values that became infinite.

    The weights do not wait for the keys: the first pieces are quantized while the vocabulary is read.
    """
    importance = read_imatrix(open_imatrix(Path(request.imatrix))) if request.imatrix else {}
    prepare({kind for file in request.files for kind in file.types.values() if TYPE_BY_NAME[kind].is_quantized})
    total = sum(each.planned.n_elements for each in layout.jobs)
    waiting: list[_Piece] = []
    with ExitStack() as stack:
        files = _Files([(each, stack.enter_context(Path(each.path).open("wb"))) for each in request.files])
        pool = stack.enter_context(ThreadPoolExecutor(request.n_threads))

        def write_first() -> None:
            if not files.n_written:
                files.write_headers(layout, keys.result(), request.imatrix_keys)
            files.write(waiting.pop(0))
            send(Step(files.n_written, total))

        for tensor in layout.jobs:
            kinds = {file.types[tensor.target] for file in request.files}
            columns = _importance_of(tensor, importance)
            for first, last in row_chunks(tensor, _PIECE_ELEMENTS):
                quantized = pool.submit(_quantize, tensor, (first, last), kinds, columns)
                waiting.append(_Piece(tensor, first, last, quantized))
                if len(waiting) > (2 * request.n_threads if keys.done() else _MOST_WAITING):
                    write_first()
        while waiting:
            write_first()
    return files.n_overflowed


def _importance_of(tensor: Job, importance: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32] | None:
    """Return the importance of the columns of each matrix, `(n_matrices, row length)`."""
    shape = (tensor.planned.n_matrices, row_length(tensor))
    found = importance.get(tensor.target)
    return found.reshape(shape) if found is not None and found.size == shape[0] * shape[1] else None


def _quantize(tensor: Job, rows: tuple[int, int], kinds: set[str], columns: NDArray[np.float32] | None) -> _Quantized:
    """Quantize rows of a tensor to every type; one that two levels share is made once."""
    by_type: dict[str, NDArray[np.uint8]] = {}
    if type_of(tensor) == _KEPT_TYPE and _KEPT_TYPE in kinds:
        by_type[_KEPT_TYPE] = read_blocks(tensor, *rows)
        if not (kinds := kinds - {_KEPT_TYPE}):
            return _Quantized(by_type, 0)
    values, source = read_chunk(tensor, *rows), chunk_type(tensor)
    wide: NDArray[np.float32] | None = None
    lost = 0
    for kind in kinds:
        if TYPE_BY_NAME[kind].is_quantized:
            if wide is None:
                wide = np.ascontiguousarray(convert_floats(values, source, "F32"))
            by_type[kind] = _quantize_wide(wide, tensor, rows, kind, columns)
        else:
            floats = np.ascontiguousarray(convert_floats(values, source, kind.upper()))
            lost += n_overflowed(values, source, floats, kind.upper())
            by_type[kind] = floats.view(np.uint8)
    return _Quantized(by_type, lost)


def _quantize_wide(
    wide: NDArray[np.float32], tensor: Job, rows: tuple[int, int], kind: str, columns: NDArray[np.float32] | None
) -> NDArray[np.uint8]:
    """Quantize rows; with importance, the rows of each matrix with that of its own."""
    length, name = row_length(tensor), f"tensor {source_of(tensor, rows[0]).name}"
    if columns is None or len(columns) == 1:
        return quantize_rows(wide, length, kind, None if columns is None else columns[0], name)
    first, last = rows
    each = n_rows(tensor) // len(columns)
    parts = []
    while first < last:
        end = min(last, (first // each + 1) * each)
        part = wide[(first - rows[0]) * length : (end - rows[0]) * length]
        parts.append(quantize_rows(part, length, kind, columns[first // each], name))
        first = end
    return np.concatenate(parts)


def _open(opening: OpenCheckpoint) -> LevelSource:
    adapter = Path(opening.adapter) if opening.adapter else None
    layout = open_layout(Path(opening.checkpoint), pre=opening.pre, origin=opening.origin, adapter=adapter)
    stem = file_stem(opening.origin.model or Path(opening.checkpoint).name, layout.n_params)
    checks: list[TokenCheck] = []

    def read_keys() -> Keys:
        scratch = Path(opening.header).parent / "tokens"  # the parent removes it
        scratch.mkdir()
        keys, check = verified_keys(layout, stem, scratch, allow_mismatch=opening.allow_token_mismatch)
        checks.append(check)
        return keys

    def write(layout: Layout, keys: Future[Keys], request: WriteLevels, send: Send) -> Finished:
        n_overflowed = write_levels(layout, keys, request, send)
        return Finished(n_overflowed=n_overflowed, tokens=checks[0])

    return LevelSource(layout, stem, read_keys, write)


if __name__ == "__main__":
    serve_levels(OpenCheckpoint, _open)
