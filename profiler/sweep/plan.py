"""What a sweep is to do: its cells, how it goes, what the results file holds already, and the order of its turns."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from profiler.records.config import Cell
from profiler.records.environment import Environment
from profiler.records.round import AnchorRound, Round
from profiler.results.file import Results
from quant.gguf_io.artifact import Artifact


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How a sweep goes; none of it changes what a cell is."""

    rounds: int = 6
    reps: int = 3
    seed: int = 0
    timeout_s: float | None = 1800.0
    cooldown_s: float = 0.0
    target: float | None = None  # a cell whose intervals are within this share of the median takes no further round
    budget_s: float | None = None  # no round begins after this time
    patience: float = 0.0  # the share of the rounds' time that measuring disturbed ones again may add
    force: bool = False  # run cells that are predicted not to fit in memory
    drift_control: bool = False  # re-measure the cheapest cell between rounds
    sustain_s: int = 0  # one request after the other for so long, and no rounds beside; 0: ordinary rounds


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the results file holds of one environment."""

    trusted: Sequence[Round] = ()  # measured, not suspect: these are not measured again
    drift: Sequence[AnchorRound] = ()  # rounds of the reference cells
    next_order: int = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep is to do."""

    cells: Sequence[Cell]
    files: Mapping[str, tuple[Artifact, Path]]  # by sha256
    environment: Environment
    options: Options
    history: History = History()

    def artifact(self, cell: Cell) -> Artifact:
        """Return the facts of a cell's file."""
        return self.files[cell.artifact_sha256][0]


class Turn(msgspec.Struct, frozen=True):
    """One round of one cell that is still to be done."""

    cell: Cell
    round: int


def history_of(results: Results, env_id: str) -> History:
    """Return what results hold of an environment; orders count on from those of all environments."""
    rounds = list(results.rounds)
    return History(
        trusted=tuple(
            record for record in rounds if record.env_id == env_id and record.status == "ok" and record.doubt is None
        ),
        drift=tuple(record for record in results.anchors if record.env_id == env_id),
        next_order=1 + max((record.order for record in [*rounds, *results.anchors]), default=-1),
    )


def turns_of(cells: Sequence[Cell], done: set[tuple[str, int]], *, rounds: int, seed: int) -> list[Turn]:
    """Order what is to be done: round by round, the cells of each in an order of its own that the seed fixes."""
    turns = []
    for round_index in range(rounds):
        order = sorted(cells, key=lambda cell: cell.key)
        # A string seeds the same order in every Python version and on every machine.
        random.Random(f"{seed}:{round_index}").shuffle(order)
        turns += [Turn(cell, round_index) for cell in order if (cell.key, round_index) not in done]
    return turns
