"""Rounds in results files: found once, decoded each time that they are accessed.

A round of 128 tokens and three repetitions is 8 KB in the file and 40 KB as objects: a hundred thousand would not fit
into a small board's memory, and no figure needs more than one cell's rounds at a time. Only its head and
the place of its line are kept.
"""

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import BinaryIO, overload

import msgspec

from profiler.records.config import Cell
from profiler.records.failure import Doubt, Status
from profiler.records.round import Round
from quant.base.ints import Int64

CellKey = tuple[str, str]  # of the cell, of the environment


class Line(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a record is."""

    file: int
    start: int
    n_bytes: int
    number: int


class RoundHead(msgspec.Struct, kw_only=True, gc=False, tag="round", tag_field="type"):
    """The fields of a round that are known before any figure; all others are skipped in its line."""

    env_id: str
    cell: Cell
    round: Int64
    status: Status
    started_at: str
    seed: Int64
    order: Int64
    target: float | None = None
    read_ceiling_bytes_per_s: float | None = None
    repeated: Int64 = 0
    doubt: Doubt | None = None


class RoundIndex(msgspec.Struct, frozen=True, kw_only=True):
    """The heads of rounds, and where each round is."""

    heads: list[RoundHead]
    lines: list[Line]


class StoredRounds(Sequence[Round]):
    """The rounds of some files, in the order of these; each access reads and decodes again.

    Args:
        paths: the files.
        index: returns where the rounds are; called when one is accessed.
        decode: turns the line with this number of this file into a round, or raises a UserError.
    """

    def __init__(
        self, paths: Sequence[Path], index: Callable[[], RoundIndex], decode: Callable[[bytes, Path, int], Round]
    ) -> None:
        self.paths, self._find, self._decode = list(paths), index, decode

    @cached_property
    def _index(self) -> RoundIndex:
        index, cells = self._find(), dict[Cell, Cell]()
        for head in index.heads:
            head.cell = cells.setdefault(head.cell, head.cell)  # one of each: a sweep repeats the same few
        return index

    @property
    def heads(self) -> list[RoundHead]:
        """What is known of each round before any figure."""
        return self._index.heads

    @property
    def lines(self) -> list[Line]:
        """Where each round is."""
        return self._index.lines

    def __len__(self) -> int:
        return len(self.lines)

    @overload
    def __getitem__(self, place: int) -> Round: ...
    @overload
    def __getitem__(self, place: slice) -> list[Round]: ...
    def __getitem__(self, place: int | slice) -> Round | list[Round]:
        if isinstance(place, slice):
            return list(self.read(self.lines[place]))
        return next(self.read([self.lines[place]]))

    def __iter__(self) -> Iterator[Round]:
        return self.read(self.lines)

    def __eq__(self, other: object) -> bool:
        """Return whether another sequence holds the same rounds."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def only(self, wanted: Sequence[bool]) -> "StoredRounds":
        """Return those for which `wanted` is true."""
        part = RoundIndex(heads=list(compress(self.heads, wanted)), lines=list(compress(self.lines, wanted)))
        return StoredRounds(self.paths, lambda: part, self._decode)

    @cached_property
    def places(self) -> dict[CellKey, list[int]]:
        """What `places_of` returns for all cells."""
        return _places(self.heads, None)

    def read(self, lines: Sequence[Line]) -> Iterator[Round]:
        """Decode lines, in their order."""
        with ExitStack() as stack:
            opened: dict[int, BinaryIO] = {}
            for line in lines:
                if line.file not in opened:
                    # Buffered reads would throw away what they read ahead at every jump.
                    opened[line.file] = stack.enter_context(self.paths[line.file].open("rb", buffering=0))
                file = opened[line.file]
                file.seek(line.start)
                yield self._decode(file.read(line.n_bytes), self.paths[line.file], line.number)

    def read_cells(self, cells: Sequence[Sequence[Line]]) -> Iterator[list[Round]]:
        """Decode the lines of each cell; no more than a cell's rounds are in memory."""
        decoded = self.read([line for lines in cells for line in lines])
        for lines in cells:
            yield [next(decoded) for _ in lines]


def heads_of(rounds: Sequence[Round]) -> Sequence[RoundHead | Round]:
    """Return what is known of rounds without decoding any."""
    return rounds.heads if isinstance(rounds, StoredRounds) else rounds


def places_of(rounds: Sequence[Round], keys: Collection[CellKey] | None = None) -> dict[CellKey, list[int]]:
    """Return the places of each cell's rounds, by their number; the cells in the order in which they first come."""
    if isinstance(rounds, StoredRounds) and keys is None:
        return rounds.places
    return _places(heads_of(rounds), keys)


def _places(heads: Sequence[RoundHead | Round], keys: Collection[CellKey] | None) -> dict[CellKey, list[int]]:
    found: dict[CellKey, list[int]] = {}
    for place, head in enumerate(heads):
        key = (head.cell.key, head.env_id)
        if keys is None or key in keys:
            found.setdefault(key, []).append(place)
    return {key: sorted(places, key=lambda place: heads[place].round) for key, places in found.items()}


def cells_of(rounds: Sequence[Round], keys: Collection[CellKey] | None = None) -> Iterator[list[Round]]:
    """Yield the rounds of each cell, of all or of some; of stored ones no more than a cell's are in memory."""
    cells = places_of(rounds, keys).values()
    if not isinstance(rounds, StoredRounds):
        yield from ([rounds[place] for place in places] for places in cells)
        return
    yield from rounds.read_cells([[rounds.lines[place] for place in places] for places in cells])
