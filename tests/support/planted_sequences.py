"""A model with sequences whose logits are known: those after some tokens depend on all of these and nothing else."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from profiler.engine import Step

N_VOCAB = 12
LAST = 0  # the token that ends a text


def logits_after(tokens: Sequence[int]) -> np.ndarray:
    """Return (N_VOCAB,) logits."""
    seed = int.from_bytes(hashlib.sha256(repr(list(tokens)).encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(0, 2, N_VOCAB).astype(np.float32)


def log_likelihood(tokens: Sequence[int], n_scored: int) -> tuple[float, bool]:
    """Return what the last tokens score, by the definition."""
    total, greedy = 0.0, True
    for place in range(len(tokens) - n_scored, len(tokens)):
        row = logits_after(tokens[:place]).astype(np.float64)
        total += row[tokens[place]] - np.log(np.exp(row).sum())
        greedy &= int(row.argmax()) == tokens[place]
    return total, greedy


class PlantedSequences:
    """Checks how it is used: positions, empty targets, and the cells that distinct tokens take."""

    def __init__(self, n_cells: int, n_sequences: int, *, can_rewind: bool = True) -> None:
        self.can_rewind, self.n_cells = can_rewind, n_cells
        self._cells: list[list[tuple[int, object]]] = [[] for _ in range(n_sequences)]
        self.n_computed = 0
        self.n_passes = 0

    def clear(self) -> None:
        for cells in self._cells:
            cells.clear()

    def copy(self, source: int, target: int) -> None:
        assert not self._cells[target]
        self._cells[target] = list(self._cells[source])

    def cut(self, sequence: int, position: int) -> bool:
        if 0 < position < len(self._cells[sequence]) and not self.can_rewind:
            return False
        del self._cells[sequence][max(0, position) :]
        return True

    def advance(self, steps: Sequence[Step]) -> Iterator[tuple[list[int], Any]]:
        self.n_passes += 1
        for first in range(0, len(steps), 3):  # a batch of three
            places, rows = [], []
            for place, step in enumerate(steps[first : first + 3], first):
                cells = self._cells[step.sequence]
                assert step.position == len(cells)
                cells.append((step.token, object()))
                self.n_computed += 1
                if step.wanted:
                    places.append(place)
                    rows.append(logits_after([token for token, _ in cells]))
            assert len({id(cell) for cells in self._cells for _, cell in cells}) <= self.n_cells
            if places:
                yield places, np.stack(rows)

    def ends(self, token: int) -> bool:
        return token == LAST

    def text_of(self, tokens: Sequence[int]) -> str:
        return "".join(chr(ord("a") + token) for token in tokens)
