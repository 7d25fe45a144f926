"""How to compute many inputs that begin alike: each shared beginning once. Pure.

Sorted inputs form a tree. Each of its edges is computed in the sequence of the first input below it and then copied to
the sequences of the others. Edges at the same height are computed together, since a pass over the weights is dear.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import msgspec

# Tokens that sharing must save: it needs a pass of its own, which takes a few tokens' time however few it is of.
LEAST_SAVED = 16

Tokens = tuple[int, ...]


class Edge(msgspec.Struct, frozen=True):
    """Positions `start` to `end` of some inputs that are the same in all of them, in the sequence of the first."""

    first: int  # input
    last: int  # exclusive
    start: int
    end: int


class Wave(msgspec.Struct):
    """What is computed together, after some sequences were copied: (source, target)."""

    copies: list[tuple[int, int]]
    edges: list[Edge]


def n_shared(one: Tokens, other: Tokens) -> int:
    """Return how many tokens two inputs begin with alike."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    # Slices compare at the speed of memory; tokens one by one do not.
    return bisect_left(range(most), 1, key=lambda n: one[: n + 1] != other[: n + 1])


def waves_of(inputs: Sequence[Tokens], start: int) -> list[Wave]:
    """Return how to compute sorted, distinct inputs whose first `start` tokens are in the first one's sequence."""
    waves: list[Wave] = []
    _branch(inputs, Edge(0, len(inputs), start, start), 0, waves)
    return waves


def _branch(inputs: Sequence[Tokens], group: Edge, height: int, waves: list[Wave]) -> None:
    """Add a group of inputs, whose first `start` tokens are in the sequence of its first input."""
    first, last, start = group.first, group.last, group.start
    shared = n_shared(inputs[first], inputs[last - 1])
    is_one = last - first == 1
    if len(waves) <= height:
        waves.append(Wave([], []))
    end = start
    if is_one or (last - first - 1) * (shared - start) >= LEAST_SAVED:
        end = shared
        if end > start:
            waves[height].edges.append(Edge(first, last, start, end))
            height += 1
    if is_one:
        return
    for begin, stop in _runs(inputs, first, last, shared):
        if begin != first:
            if len(waves) <= height:
                waves.append(Wave([], []))
            waves[height].copies.append((first, begin))
        _branch(inputs, Edge(begin, stop, end, end), height, waves)


def _runs(inputs: Sequence[Tokens], first: int, last: int, place: int) -> Iterator[tuple[int, int]]:
    """Yield the runs of inputs with the same token at a place; one that ends there is a run of its own."""
    begin = first
    for index in range(first + 1, last + 1):
        if index == last or inputs[index][place : place + 1] != inputs[begin][place : place + 1]:
            yield begin, index
            begin = index


def packs_of(inputs: Sequence[Tokens], n_cells: int, n_sequences: int, n_new: int = 0) -> list[tuple[int, int]]:
    """Return the first and the last sorted input, exclusive, of each part that fits in a cache; one input always does.

    Args:
        inputs: sorted, none longer than n_cells less n_new.
        n_cells: of the cache, for tokens that are computed.
        n_sequences: that the cache distinguishes.
        n_new: tokens that may follow each input.
    """
    packs = []
    first = n_used = 0
    for index, tokens in enumerate(inputs):
        # Of what two inputs share, fewer than LEAST_SAVED tokens may be computed twice.
        shared = n_shared(inputs[index - 1], tokens) - LEAST_SAVED if index > first else 0
        n_more = n_new + len(tokens) - max(0, shared)
        if index > first and (n_used + n_more > n_cells or index - first == n_sequences):
            packs.append((first, index))
            first, n_used, n_more = index, 0, n_new + len(tokens)
        n_used += n_more
    return [*packs, (first, len(inputs))] if inputs else []
