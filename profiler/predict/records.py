"""What a graph consists of, as far as its time depends on it; equal nodes are counted."""

import msgspec


class ProductWork(msgspec.Struct, frozen=True, kw_only=True):
    """Products of activations with a matrix of the file, or with the matrices that a router chose."""

    type: str  # ggml's type of the weights
    repacked: bool
    n_cols: int
    n_rows: int
    n_bytes: int  # of one matrix
    n_matrices: int = 1  # that are used
    n_tokens: float  # that each of them is multiplied with, on average

    @property
    def read_bytes(self) -> int:
        """The weights that are read."""
        return self.n_matrices * self.n_bytes


class NodeWork(msgspec.Struct, frozen=True, kw_only=True):
    """Any other node."""

    kind: str  # kinds.py
    work: int  # bytes moved, or operations
    n_sharing: float = 1.0  # of attention: query heads that share a head of the cache
    n_positions: int = 0  # of the cache, for attention, whose operations are those with all of them


class GraphWork(msgspec.Struct, frozen=True, kw_only=True):
    """One pass of a model at one level."""

    n_tokens: int
    products: tuple[tuple[ProductWork, int], ...]  # each with its number
    nodes: tuple[tuple[NodeWork, int], ...]

    @property
    def read_bytes(self) -> int:
        """All weights that are read."""
        return sum(count * product.read_bytes for product, count in self.products)
