"""One tensor of the GGUF file, and the rows of the checkpoint that it is made of.

Nearly all tensors are copied as they are. The others have their rows reordered, are a part of a larger tensor, are
stacked from several smaller ones, or are transposed in the checkpoint. All can be made in chunks of rows.
"""

import math
from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

Shape = tuple[int, ...]
Rows = NDArray[np.intp]
_STACKED_DIMS = 3  # of a tensor that holds the matrices of several experts or heads


class Interleaved(msgspec.Struct, frozen=True):
    """Heads whose rotary halves are consecutive in the checkpoint and interleaved in GGUF.

    Source: the q and k projections of conversion/llama.py of the pinned llama.cpp.
    """

    n_heads: int
    first_row: int = 0  # where they are a part of a larger tensor

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: those of one head."""
        return n_rows // self.n_heads

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        size = self.unit(n_rows)
        return self.first_row + rows // size * size + _halves(rows % size, size)


class Deinterleaved(msgspec.Struct, frozen=True):
    """Heads whose rotary halves alternate in the checkpoint and are consecutive in GGUF; the rest of a head stays.

    Source: normal_to_neox in conversion/glm.py of the pinned llama.cpp.
    """

    size: int  # rows of a head
    n_turned: int  # of those, rotated

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: those of one head."""
        return self.size

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        within, half = rows % self.size, self.n_turned // 2
        turned: Rows = within % half * 2 + within // half
        found: Rows = rows - within + np.where(within < self.n_turned, turned, within)
        return found


class ByPart(msgspec.Struct, frozen=True):
    """Query, key and value, which alternate head by head in the checkpoint and are consecutive in GGUF.

    Source: query_key_value of conversion/bloom.py and conversion/gptneox.py of the pinned llama.cpp.
    """

    n_heads: int
    n_parts: int = 3

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: those of one head in one part."""
        return n_rows // self.n_heads // self.n_parts

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        size = self.unit(n_rows)
        part, head, within = rows // size // self.n_heads, rows // size % self.n_heads, rows % size
        return (head * self.n_parts + part) * size + within


class Grouped(msgspec.Struct, frozen=True):
    """Groups of some queries, their key and their value; in GGUF all queries come first, then all keys, all values.

    Source: conversion/falcon.py and conversion/internlm.py of the pinned llama.cpp.
    """

    n_heads: int  # of queries
    n_groups: int
    size: int  # rows of a head
    first_head: int = 0  # where only a part is wanted: the first of all heads in GGUF's order
    interleaved: bool = False  # the rotary halves too

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: those of one head."""
        return self.size

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        head, within = self.first_head + rows // self.size, rows % self.size
        per_group, other = self.n_heads // self.n_groups, head - self.n_heads
        is_query = other < 0
        group = np.where(is_query, head // per_group, other % self.n_groups)
        place = np.where(is_query, head % per_group, per_group + other // self.n_groups)
        if self.interleaved:
            within = _halves(within, self.size)
        found: Rows = (group * (per_group + 2) + place) * self.size + within
        return found


class Tiled(msgspec.Struct, frozen=True):
    """Heads that come group by group in the checkpoint; in GGUF first each group's first head, then each one's second.

    Source: _LinearAttentionVReorderBase in conversion/qwen.py of the pinned llama.cpp.
    """

    n_groups: int
    per_group: int  # heads
    size: int  # rows of a head
    first_row: int = 0  # those before it keep their places

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: those of one head."""
        return self.size

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        head, within = (rows - self.first_row) // self.size, (rows - self.first_row) % self.size
        source = (head % self.n_groups * self.per_group + head // self.n_groups) * self.size + within
        found: Rows = np.where(rows < self.first_row, rows, self.first_row + source)
        return found


class Parts(msgspec.Struct, frozen=True):
    """Groups of parts of several widths; in GGUF the same part of all groups is consecutive, part after part.

    Source: in_proj_qkvz of Qwen3NextModel in conversion/qwen.py of the pinned llama.cpp.
    """

    n_groups: int
    widths: tuple[int, ...]  # rows of each part of a group
    taken: tuple[int, ...]  # numbers of the parts that are wanted

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: one."""
        return 1

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        groups = np.arange(self.n_groups)[:, None] * sum(self.widths)
        parts = [groups + sum(self.widths[:part]) + np.arange(self.widths[part]) for part in self.taken]
        found: Rows = np.concatenate([part.reshape(-1) for part in parts])[first:last]
        return found


class From(msgspec.Struct, frozen=True):
    """A part of a larger tensor: the rows from `first_row`."""

    first_row: int

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: one."""
        return 1

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        return np.arange(self.first_row + first, self.first_row + last)


class OfEach(msgspec.Struct, frozen=True):
    """Some rows of each expert (or head), where the checkpoint has those of all experts in one tensor.

    Source: the merged gates and ups of conversion/granite.py, conversion/qwen.py and conversion/gpt_oss.py, and the
    kv_b_proj of conversion/deepseek.py of the pinned llama.cpp.
    """

    n_rows: int  # of an expert in GGUF
    whole: int  # of an expert in the checkpoint
    first_row: int = 0  # of those
    step: int = 1  # 2: every second row

    def unit(self, n_rows: int) -> int:
        """Return the number of rows that belong together: one."""
        return 1

    def source_rows(self, first: int, last: int, n_rows: int) -> Rows:
        """Return the checkpoint's row for each of GGUF's rows from `first` up to `last`."""
        rows = np.arange(first, last)
        return rows // self.n_rows * self.whole + self.first_row + rows % self.n_rows * self.step


Order = Interleaved | Deinterleaved | ByPart | Grouped | Tiled | Parts | From | OfEach


def _halves(within: Rows, size: int) -> Rows:
    """Return the place in a head of two halves for each place in one of alternating rows."""
    return within % 2 * (size // 2) + within // 2


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """One tensor that a config asks for. Shapes have the rows first, as safetensors and numpy write them.

    A tensor of three dimensions holds the matrices of all experts, or of all heads, one after another.
    """

    name: str  # in the checkpoint
    shape: Shape  # in GGUF
    target: str | None = None  # in GGUF; None: the name in gguf's TensorNameMap
    stacked: tuple[str, ...] = ()  # all sources, `name` first, where each is an equal part, one after another
    source_shape: Shape | None = None  # in the checkpoint, where it differs
    order: Order | None = None
    columns: Order | None = None  # the order of the values in each row
    transposed: bool = False  # of three dimensions, each matrix is
    offset: float = 0.0  # added to each value: some checkpoints store norm weights as weight - 1
    scale: float = 1.0  # by which each value is multiplied
    bands: tuple[tuple[int, float], ...] = ()  # after that, for rows up to each bound, a factor of their own
    is_log: bool = False  # whether the checkpoint has the logarithms of the values, without their minus signs
    ternary: bool = False  # whether each value becomes one of three, as the layer that has it does when it runs
    unit_rows: bool = False  # whether rows are divided by their length
    instead: str | None = None  # the tensor to take where `name` is missing: the other of two tied matrices
    cut: bool = False  # the checkpoint may have more rows, which belong to no token
    padded: bool = False  # the rows that the checkpoint lacks are zeros
    optional: bool = False  # a tied output matrix may be missing
    group: str | None = None  # tensors of one group are written together, when the last of their sources has come
    merged: "Planned | None" = None  # the same tensor, of a checkpoint that has the matrices of all experts in one

    @property
    def sources(self) -> tuple[str, ...]:
        """The names in the checkpoint."""
        return self.stacked or (self.name,)

    @property
    def n_elements(self) -> int:
        """The number of values in GGUF."""
        return math.prod(self.shape)

    @property
    def row_length(self) -> int:
        """The number of values in a row. Vectors, also those of experts in one tensor, have rows of one value."""
        is_vectors = len(self.shape) < _STACKED_DIMS and isinstance(self.order, OfEach)
        return 1 if len(self.shape) < 2 or is_vectors else self.shape[-1]

    @property
    def n_matrices(self) -> int:
        """The number of matrices, one after another: of experts or heads."""
        return self.shape[0] if len(self.shape) == _STACKED_DIMS else 1

    @property
    def is_changed(self) -> bool:
        """Whether its values differ from the checkpoint's."""
        return bool(self.offset or self.bands or self.unit_rows) or self.scale != 1.0 or self.is_log or self.ternary

    @property
    def is_norm(self) -> bool:
        """Whether it holds the weights of a norm, which are near one."""
        return self.target is not None and self.target.endswith(("_norm.weight", "_norm"))

    def source_tensors(self) -> Iterator[tuple[str, Shape]]:
        """Yield the names and shapes of the checkpoint's tensors that this one needs."""
        if self.source_shape is not None:
            shape = self.source_shape
        elif self.stacked:
            shape = self.shape[1:]
        else:
            shape = (*self.shape[:-2], *self.shape[:-3:-1]) if self.transposed else self.shape
        for name in self.sources:
            yield name, shape


def weight_and_bias(
    name: str, shape: Shape, *, order: Order | None = None, transposed: bool = False
) -> Iterator[Planned]:
    """Yield a layer's weight and its bias, which has one value per row."""
    yield Planned(name=f"{name}.weight", shape=shape, order=order, transposed=transposed)
    yield Planned(name=f"{name}.bias", shape=shape[:1], order=order)
