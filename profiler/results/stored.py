"""Rounds as they lie in results files: found once, and decoded each time that they are asked for.

A round of 128 tokens and three repetitions is 8 KB in the file and 40 KB as objects: a hundred thousand would not fit
into a small board's memory, and no figure needs more than one cell's rounds at a time. What is kept of each is its head
and where its line is.
"""

import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import compress
from pathlib import Path
from typing import BinaryIO, NamedTuple, overload

import msgspec

from profiler.records.config import Cell
from profiler.records.record import Round

# From so many on they are worked on in several processes: below, the start of these takes longer than they save.
MANY_ROUNDS = 4000
CellKey = tuple[str, str]  # of the cell, of the environment


class Line(NamedTuple):
    """Where a record is."""

    file: int
    start: int
    n_bytes: int
    number: int


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a round says of itself before any figure; the names are those of `Round`."""

    cell: Cell
    env_id: str
    round: int
    status: str
    started_at: str
    seed: int
    order: int
    target: float | None
    doubted: bool = False  # by the sweep's anchor
    read_ceiling_bytes_per_s: float | None


class StoredRounds(Sequence[Round]):
    """The rounds of some files, in the order of these; each access reads and decodes anew.

    Args:
        paths: the files.
        decode: turns the line with this number of this file into a round, or raises a UserError.
    """

    def __init__(self, paths: Sequence[Path], decode: Callable[[bytes, Path, int], Round]) -> None:
        self.paths = list(paths)
        self.heads: list[Head] = []
        self.lines: list[Line] = []
        self._decode = decode

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
        """Tell whether another sequence holds the same rounds."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]

    def only(self, wanted: Sequence[bool]) -> "StoredRounds":
        """Give those for which `wanted` is true."""
        part = StoredRounds(self.paths, self._decode)
        part.heads = list(compress(self.heads, wanted))
        part.lines = list(compress(self.lines, wanted))
        return part

    @cached_property
    def places(self) -> dict[CellKey, list[int]]:
        """What `places_of` gives; to be asked for when all are found."""
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


def heads_of(rounds: Sequence[Round]) -> Sequence[Head | Round]:
    """Give what is known of rounds without decoding any."""
    return rounds.heads if isinstance(rounds, StoredRounds) else rounds


def places_of(rounds: Sequence[Round], keys: Collection[CellKey] | None = None) -> dict[CellKey, list[int]]:
    """Give the places of each cell's rounds, by their number; the cells in the order in which they first come."""
    if isinstance(rounds, StoredRounds) and keys is None:
        return rounds.places
    return _places(heads_of(rounds), keys)


def _places(heads: Sequence[Head | Round], keys: Collection[CellKey] | None) -> dict[CellKey, list[int]]:
    found: dict[CellKey, list[int]] = {}
    for place, head in enumerate(heads):
        key = (head.cell.key, head.env_id)
        if keys is None or key in keys:
            found.setdefault(key, []).append(place)
    return {key: sorted(places, key=lambda place: heads[place].round) for key, places in found.items()}


def cells_of(rounds: Sequence[Round], keys: Collection[CellKey] | None = None) -> Iterator[list[Round]]:
    """Give the rounds of each cell, of all or of some; of stored ones no more than a cell's are in memory."""
    yield from at_places(rounds, list(places_of(rounds, keys).values()))


def at_places(rounds: Sequence[Round], cells: Sequence[Sequence[int]]) -> Iterator[list[Round]]:
    """Give the rounds at the places of each cell."""
    if not isinstance(rounds, StoredRounds):
        yield from ([rounds[place] for place in places] for places in cells)
        return
    decoded = rounds.read([rounds.lines[place] for places in cells for place in places])
    for places in cells:
        yield [next(decoded) for _ in places]
