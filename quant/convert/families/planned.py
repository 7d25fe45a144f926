"""One tensor of the file to be, and which rows of the checkpoint it is made of.

Nearly all tensors are taken as they are. The others keep whole rows and change their order, are one part of a larger
tensor, are several small ones stacked, or stand transposed in the checkpoint; so a tensor can be made a piece of rows
at a time.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Rows = NDArray[np.intp]


class Interleaved(msgspec.Struct, frozen=True):
    """Heads whose rotary halves follow one another in the checkpoint and alternate in GGUF.

    Source: the q and k projections of conversion/llama.py of the pinned llama.cpp.
    """

    n_heads: int

    def unit(self, n_rows: int) -> int:
        """Give the rows that belong together: one head's."""
        return n_rows // self.n_heads

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Give the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        size = self.unit(n_rows)
        head, within = rows // size, rows % size
        return head * size + within % 2 * (size // 2) + within // 2


class ByPart(msgspec.Struct, frozen=True):
    """Query, key and value that stand head by head in the checkpoint and one after the other in GGUF.

    Source: query_key_value of conversion/bloom.py and conversion/gptneox.py of the pinned llama.cpp.
    """

    n_heads: int
    n_parts: int = 3

    def unit(self, n_rows: int) -> int:
        """Give the rows that belong together: one head's of one part."""
        return n_rows // self.n_heads // self.n_parts

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Give the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        size = self.unit(n_rows)
        part, head, within = rows // size // self.n_heads, rows // size % self.n_heads, rows % size
        return (head * self.n_parts + part) * size + within


class From(msgspec.Struct, frozen=True):
    """A part of a larger tensor: its rows from `first_row` on."""

    first_row: int

    def unit(self, n_rows: int) -> int:
        """Give the rows that belong together: one."""
        return 1

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Give the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        return np.arange(self.first_row + first, self.first_row + last)


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that a config asks for. Shapes have the rows first, as safetensors and numpy write them."""

    name: str  # in the checkpoint
    shape: Shape  # in GGUF
    target: str | None = None  # in GGUF; None: what gguf's map of names says
    stacked: tuple[str, ...] = ()  # all sources, `name` first, where each gives one row
    source_shape: Shape | None = None  # in the checkpoint, where it differs
    order: Interleaved | ByPart | From | None = None
    transposed: bool = False
    plus: float = 0.0  # added to each value: some norms are kept as what they differ from one by
    cut: bool = False  # the checkpoint may have more rows, which belong to no token
    optional: bool = False  # a tied output matrix need not be there
    is_norm: bool = False  # its values lie around one, or around zero where one is added

    @property
    def sources(self) -> tuple[str, ...]:
        """The names in the checkpoint."""
        return self.stacked or (self.name,)

    @property
    def n_elements(self) -> int:
        """The number of values in GGUF."""
        return size_of(self.shape)

    def source_tensors(self) -> Iterator[tuple[str, Shape]]:
        """Give the checkpoint's tensors that this one needs, and their shapes."""
        if self.source_shape is not None:
            shape = self.source_shape
        elif self.stacked:
            shape = self.shape[1:]
        else:
            shape = self.shape[::-1] if self.transposed else self.shape
        for name in self.sources:
            yield name, shape


def size_of(shape: Shape) -> int:
    """Multiply the sizes of a shape."""
    size = 1
    for length in shape:
        size *= length
    return size
