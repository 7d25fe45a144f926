"""What a function finds in each cell of some results; of large results every CPU works on a share of the cells.

The function's module is run as the worker, so it ends with `serve_shares(function)`.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from profiler.records.environment import Environment
from profiler.records.round import Round
from profiler.results import collect_rarely
from profiler.results.file import Results, decode_round
from profiler.results.stored import Line, RoundIndex, StoredRounds
from quant.base.child import Child
from quant.base.cpus import usable_cpus
from quant.base.worker import serve
from quant.gguf_io.artifact import Artifact

T = TypeVar("T")
OfCell = Callable[[list[Round], Artifact, Environment | None], T]

_MOST_SHARES = 8  # some 70 MB each


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """Some cells for one process."""

    paths: list[str]
    cells: list[list[Line]]  # where the rounds of each are
    artifacts: dict[str, Artifact]
    environments: dict[str, Environment]

    def find(self, function: OfCell[T]) -> list[T]:
        """Return what the function finds in each cell."""
        stored = StoredRounds(list(map(Path, self.paths)), lambda: RoundIndex(heads=[], lines=[]), decode_round)
        results = Results(artifacts=self.artifacts, environments=self.environments)
        return [function(*cell) for cell in results.described(stored.read_cells(self.cells))]


def serve_shares(function: OfCell[T]) -> None:
    """Be the worker for one share."""
    collect_rarely()
    serve(Share, lambda share: share.find(function))


def find_in_cells(results: Results, kind: type[T], function: OfCell[T]) -> list[T]:
    """Return what the function finds in each cell, in the order of the cells."""
    rounds = results.rounds
    if results.key is None or not isinstance(rounds, StoredRounds):
        return [function(*cell) for cell in results.cells()]
    cells = [[rounds.lines[place] for place in places] for places in rounds.places.values()]
    n_cells = max(1, -(-len(cells) // min(usable_cpus(), _MOST_SHARES)))
    shares = [
        Share(
            paths=list(map(str, rounds.paths)),
            cells=cells[first : first + n_cells],
            artifacts=results.artifacts,
            environments=results.environments,
        )
        for first in range(0, len(cells), n_cells)
    ]
    with ExitStack() as stack:
        children = [stack.enter_context(Child(function.__module__)) for _ in shares[1:]]
        for child, share in zip(children, shares[1:], strict=True):
            child.send(share)
        found: list[T] = shares[0].find(function) if shares else []
        for child, share in zip(children, shares[1:], strict=True):
            try:
                found += msgspec.json.decode(child.receive(), type=list[kind])  # type: ignore[valid-type]
            except msgspec.DecodeError:  # the child failed: done here, the same error has its usual message
                found += share.find(function)
    return found
