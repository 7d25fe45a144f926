"""The nodes of a graph that llama.cpp computes, as ggml describes them."""

import msgspec


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor as ggml holds it, without its sources."""

    name: str
    op: str  # "NONE" for weights, inputs and the cache
    type: str
    shape: tuple[int, int, int, int]  # innermost first, as ggml counts
    block_elements: int
    block_bytes: int

    @property
    def n_elements(self) -> int:
        """The product of the shape."""
        ne0, ne1, ne2, ne3 = self.shape
        return ne0 * ne1 * ne2 * ne3

    @property
    def n_bytes(self) -> int:
        """The bytes of the elements themselves, without the gaps that a view may have."""
        return self.n_elements * self.block_bytes // self.block_elements

    @property
    def row_bytes(self) -> int:
        """The bytes of one row."""
        return self.shape[0] * self.block_bytes // self.block_elements


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One node of a graph: an operation, its result and what it reads."""

    op: str  # "GLU"
    label: str  # "SWIGLU": which one of its kind
    result: Tensor
    sources: tuple[Tensor, ...]
