"""One process that makes runnable files of a shape with made-up weights: JSON lines in, JSON lines out.

Run as `python -m quant.synthetic.gguf_worker`. The lines are those of quant/quantize/from_checkpoint_worker.py; the
first one has a config in the place of a checkpoint. Nothing is quantized but a small base, once for each type: the
tensors repeat it, each from a place of its own, so that the disk sets the pace.
"""

import gc
import hashlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from quant.base.child import die_with_parent, end_child, prepare_child
from quant.base.errors import UserError
from quant.base.files import write_in_steps
from quant.convert.layout import Job, Layout, layout_of_shape
from quant.convert.sparse_gguf import write_hole
from quant.gguf_io.file_name import file_stem
from quant.gguf_io.floats import convert_floats
from quant.gguf_io.levels import LEVEL_BY_NAME
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import Keys, compose_header, n_padding
from quant.quantize.from_checkpoint_worker import Event, Teller, Writing
from quant.quantize.kernels import prepare, quantize_rows

UNIT = 256  # values that stay together: the longest block of any type
# Units of the base. A prime, so that a step of any length visits all of them before it repeats, and no row length
# divides it; and more than the tensors of any model here.
N_UNITS = 2039
_STEP = 797  # from one tensor's place in the base to the next one's
_DEVIATION = 0.02  # as in synthesize: logits stay finite through any depth
_PIECE_BYTES = 4 << 20  # of a tensor, at least
MARK = "synthetic"  # in the files' names, where gguf's convention has the fine-tune


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """The first line: lay out a shape, write the file without weights."""

    config: dict[str, Any]
    standin_for: str
    header: str
    seed: int = 0
    hashed: bool = False  # whether to hash the files while they are written


class Tile:
    """A type's base, repeated in memory so that a long run from any place in it is one piece."""

    def __init__(self, kind: str, base: NDArray[np.uint8]) -> None:
        self.kind = kind
        self._unit_bytes = base.size // N_UNITS
        self._turn_bytes = base.size * -(-_PIECE_BYTES // base.size)
        # One base more than a piece: a run may begin anywhere in it.
        self._buffer = memoryview(np.tile(base, self._turn_bytes // base.size + 1).data)

    def pieces(self, number: int, n_bytes: int) -> list[memoryview]:
        """Give the bytes of a tensor by its number; they stay where they are."""
        start = number * _STEP % N_UNITS * self._unit_bytes
        whole, rest = divmod(n_bytes, self._turn_bytes)
        turn = self._buffer[start : start + self._turn_bytes]
        return [turn] * whole + ([turn[:rest]] if rest else [])


def make_base(values: NDArray[np.float32], kind: str, *, with_importance: bool) -> NDArray[np.uint8]:
    """Give the base in a type. With an importance matrix, all columns count alike."""
    if TYPE_BY_NAME[kind].is_quantized:
        return quantize_rows(values, UNIT, kind, np.ones(UNIT, np.float32) if with_importance else None)
    return np.ascontiguousarray(convert_floats(values, "F32", kind.upper())).view(np.uint8)


def base_values(seed: int) -> NDArray[np.float32]:
    """Give the random values that all types of the base are made of."""
    normal = np.random.default_rng(seed).standard_normal(N_UNITS * UNIT, dtype=np.float32)
    return normal * np.float32(_DEVIATION)


class Output:
    """A file that is being written; what goes into it is hashed in another thread, where one is given."""

    def __init__(self, file: BinaryIO, pool: ThreadPoolExecutor | None) -> None:
        self._file, self._pool = file, pool
        self._hash = hashlib.sha256()
        self._hashed: Future[None] | None = None
        self.n_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Write what will not change any more."""
        write_in_steps(self._file, data)
        self.n_bytes += len(data)
        if self._pool is not None:
            self._hashed = self._pool.submit(self._hash.update, data)

    def sha256(self) -> str | None:
        """Wait for the hash of all that was written; None where none is computed."""
        if self._hashed is None:
            return None
        self._hashed.result()
        return self._hash.hexdigest()


def write_files(layout: Layout, keys: Future[Keys], job: Writing, opening: Opening, tell: Teller) -> tuple[str, ...]:
    """Make one file after the other; give their hashes, where they are wanted and a second CPU has time for them."""
    kinds = {kind for file in job.files for kind in file.types.values()} | {"f32"}
    prepare({kind for kind in kinds if TYPE_BY_NAME[kind].is_quantized})
    values = base_values(opening.seed)
    total = sum(layout.data_bytes(file.types) for file in job.files)
    done = 0
    hashes = []
    with ThreadPoolExecutor(job.n_threads) as pool, ThreadPoolExecutor(1) as hasher:
        bases = {kind: pool.submit(make_base, values, kind, with_importance=job.imatrix is not None) for kind in kinds}
        tiles = {kind: Tile(kind, base.result()) for kind, base in bases.items()}
        for file in job.files:
            header = compose_header(
                keys.result(),
                layout.entries(file.types),
                file_type=LEVEL_BY_NAME[file.level].ftype,
                more=job.imatrix_keys,
            )
            with Path(file.path).open("wb") as opened:
                out = Output(opened, hasher if opening.hashed and job.n_threads > 1 else None)
                out.write(header)
                out.write(layout.extra_data())
                for number, tensor in enumerate(layout.jobs):
                    for piece in tensor_pieces(tensor, number, tiles[file.types[tensor.target]]):
                        out.write(piece)
                    out.write(b"\0" * n_padding(out.n_bytes))
                    tell(Event(done=done + out.n_bytes - len(header), total=total))
            done += out.n_bytes - len(header)
            hashes.append(out.sha256())
    return tuple(each for each in hashes if each is not None)


def tensor_pieces(tensor: Job, number: int, tile: Tile) -> Iterator[bytes | memoryview]:
    """Give a tensor's bytes: ones for a norm, else random values."""
    if tensor.planned.is_norm:
        yield make_base(np.ones(tensor.planned.n_elements, np.float32), tile.kind, with_importance=False).tobytes()
    else:
        yield from tile.pieces(number, TYPE_BY_NAME[tile.kind].nbytes(tensor.dims))


def main() -> None:
    """Read the two lines, do what they say, one after the other."""
    # A made-up vocabulary is half a million objects without a cycle, and looking for some takes a third of its time.
    gc.disable()
    tell = Teller(prepare_child())
    stdin = sys.stdin.buffer
    try:
        opening = msgspec.json.decode(stdin.readline(), type=Opening)
        layout = layout_of_shape(opening.config, standin_for=opening.standin_for)
        write_hole(layout, Path(opening.header))
        tell(Event(stem=f"{file_stem(opening.standin_for, layout.n_params)}-{MARK}"))
        with ThreadPoolExecutor(1) as reader:
            keys = reader.submit(lambda: layout.keys)
            line = stdin.readline()
            if not line:
                os._exit(0)  # the parent wants no files after all
            writing = msgspec.json.decode(line, type=Writing)
            die_with_parent(stdin, [file.path for file in writing.files])
            tell(Event(overflowed=0, sha256=write_files(layout, keys, writing, opening, tell)))
    except UserError as error:
        tell(Event(refusal=str(error)))
    except OSError as error:
        tell(Event(refusal=f"cannot write: {error.strerror}; free space or choose another -o"))
    end_child()


if __name__ == "__main__":
    main()
