"""The process that writes runnable files of a shape with synthetic weights.

Run as `python -m quant.synthetic.gguf_worker`. Only a small base is quantized, once for each type: the tensors repeat
it, each from an offset of its own, so that the disk sets the pace.
"""

import gc
import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from quant.base.files import write_in_steps
from quant.base.worker import Send
from quant.convert.job import Job
from quant.convert.layout import Layout, layout_of_shape
from quant.gguf_io.file_name import file_stem
from quant.gguf_io.floats import convert_floats
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import Keys, compose_header, n_padding
from quant.quantize.kernels import prepare, quantize_rows
from quant.quantize.level_messages import Finished, OpenShape, Step, WriteLevels
from quant.quantize.level_worker import LevelSource, serve_levels

UNIT = 256  # values that stay together: the longest block of any type
# Units of the base. A prime, so that a step of any length visits all of them before it repeats, and no row length
# divides it; and more than the tensors of any model here.
N_UNITS = 2039
_STRIDE = 797  # units from one tensor's offset in the base to the next one's
_DEVIATION = 0.02  # as in quant/synthetic/checkpoint.py: logits stay finite through any depth
_PIECE_BYTES = 4 << 20  # of a tensor, at least
MARK = "synthetic"  # in the files' names, where gguf's convention has the fine-tune


class Tile:
    """The base in one type, repeated in memory so that a long run from any offset in it is contiguous."""

    def __init__(self, kind: str, base: NDArray[np.uint8]) -> None:
        self.kind = kind
        self._unit_bytes = base.size // N_UNITS
        self._turn_bytes = base.size * -(-_PIECE_BYTES // base.size)
        # One base more than a piece: a run may begin at any offset.
        self._buffer = memoryview(np.tile(base, self._turn_bytes // base.size + 1).data)

    def pieces(self, number: int, n_bytes: int) -> list[memoryview]:
        """Return views of the bytes of a tensor, by its number."""
        start = number * _STRIDE % N_UNITS * self._unit_bytes
        whole, rest = divmod(n_bytes, self._turn_bytes)
        turn = self._buffer[start : start + self._turn_bytes]
        return [turn] * whole + ([turn[:rest]] if rest else [])


def make_base(values: NDArray[np.float32], kind: str, *, with_importance: bool) -> NDArray[np.uint8]:
    """Return the base in a type. With an importance matrix, all columns count alike."""
    if TYPE_BY_NAME[kind].is_quantized:
        return quantize_rows(values, UNIT, kind, np.ones(UNIT, np.float32) if with_importance else None)
    return np.ascontiguousarray(convert_floats(values, "F32", kind.upper())).view(np.uint8)


def base_values(seed: int) -> NDArray[np.float32]:
    """Return the random values that the base has in all types."""
    normal = np.random.default_rng(seed).standard_normal(N_UNITS * UNIT, dtype=np.float32)
    return normal * np.float32(_DEVIATION)


class Output:
    """A file that is being written; its content is hashed in another thread, where one is given."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor | None) -> None:
        self._file, self._pool = file, pool
        self._hash = hashlib.sha256()
        self._hashed: Future[None] | None = None
        self.n_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write data that nothing changes afterwards: it is hashed later."""
        write_in_steps(self._file, data)
        self.n_bytes += len(data)
        if self._pool is not None:
            self._hashed = self._pool.submit(self._hash.update, data)

    def sha256(self) -> str | None:
        """Wait for the hash of everything that was written; None where it is not computed."""
        if self._hashed is None:
            return None
        self._hashed.result()
        return self._hash.hexdigest()


def write_files(layout: Layout, keys: Future[Keys], request: WriteLevels, opening: OpenShape, send: Send) -> Finished:
    """Write one file after the other; hash them where that is requested and a second CPU has time for it."""
    kinds = {kind for file in request.files for kind in file.types.values()} | {"f32"}
    prepare({kind for kind in kinds if TYPE_BY_NAME[kind].is_quantized})
    values, with_importance = base_values(opening.seed), request.imatrix is not None
    total = sum(layout.data_bytes(file.types) for file in request.files)
    done = 0
    hashes = []
    with ThreadPoolExecutor(request.n_threads) as pool, ThreadPoolExecutor(1) as hasher:
        bases = {kind: pool.submit(make_base, values, kind, with_importance=with_importance) for kind in kinds}
        tiles = {kind: Tile(kind, base.result()) for kind, base in bases.items()}
        for file in request.files:
            header = compose_header(
                keys.result(),
                layout.entries(file.types),
                file_type=LEVEL_BY_NAME[file.level].ftype,
                more=request.imatrix_keys,
            )
            with Path(file.path).open("wb") as opened:
                out = Output(opened, hasher if opening.hashed and request.n_threads > 1 else None)
                out.write(header)
                out.write(layout.extra_data())
                for number, tensor in enumerate(layout.jobs):
                    for piece in tensor_pieces(tensor, number, tiles[file.types[tensor.target]]):
                        out.write(piece)
                    out.write(b"\0" * n_padding(out.n_bytes))
                    send(Step(done + out.n_bytes - len(header), total))
            done += out.n_bytes - len(header)
            hashes.append(out.sha256())
    return Finished(sha256=tuple(each for each in hashes if each is not None))


def tensor_pieces(tensor: Job, number: int, tile: Tile) -> Iterator[bytes | memoryview]:
    """Yield the bytes of a tensor: ones for a norm, their opposites for what lets a state fade, else random values."""
    if tensor.planned.is_norm or tensor.planned.is_log:
        value = np.float32(-1 if tensor.planned.is_log else 1)
        values = np.full(tensor.planned.n_elements, value)
        yield make_base(values, tile.kind, with_importance=False).tobytes()
    else:
        yield from tile.pieces(number, TYPE_BY_NAME[tile.kind].nbytes(tensor.dims))


def _open(opening: OpenShape) -> LevelSource:
    layout = layout_of_shape(opening.config, standin_for=opening.standin_for)

    def write(layout: Layout, keys: Future[Keys], request: WriteLevels, send: Send) -> Finished:
        return write_files(layout, keys, request, opening, send)

    stem = f"{file_stem(opening.standin_for, layout.n_params)}-{MARK}"
    return LevelSource(layout, stem, lambda: layout.keys, write)


if __name__ == "__main__":
    # A synthetic vocabulary is half a million objects without cycles; collecting garbage takes a third of its time.
    gc.disable()
    serve_levels(OpenShape, _open)
