"""A node of some model's graph, computed alone on synthetic operands: what this device takes for it.

The node is described as ggml holds it, with its parameters and the strides of its operands, which may be views, and
built again from that in a graph of many equal ones. Only a worker process imports this.
"""

import ctypes
import mmap
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from profiler.engine.cpu_graph import CpuGraph
from profiler.engine.ggml import TYPE_F32, TYPE_I32, TYPE_I64, GgmlTensor, library, new_context, new_tensor

_CONTEXT_BYTES = 4 << 20  # room for the descriptions of all copies and of a graph
_PADDING = 64  # kernels may read beyond the last element
_BYTE = 0x2C  # of half floats and blocks: twice this byte is 0.065
_MASK = 3  # among the sources of attention
_OWN = {"FLASH_ATTN_EXT": (1, 2)}  # the sources that each copy has of its own


class Operand(msgspec.Struct, frozen=True):
    """A tensor's type, sizes and strides, innermost first."""

    type: int
    ne: tuple[int, ...]
    nb: tuple[int, ...]
    n_bytes: int  # from its first element to the end of its last


class NodeForm(msgspec.Struct, frozen=True):
    """All that the time of a node depends on."""

    op: int
    params: bytes
    result: Operand
    sources: tuple[Operand | None, ...]


def form_of(pointer: int) -> NodeForm:
    """Describe a node while its graph is alive."""
    tensor = GgmlTensor.from_address(pointer)
    sources = list(tensor.src)
    while sources and not sources[-1]:
        sources.pop()
    return NodeForm(
        op=tensor.op,
        params=bytes(tensor.op_params),
        result=_operand(pointer),
        sources=tuple(_operand(each) if each else None for each in sources),
    )


def _operand(pointer: int) -> Operand:
    tensor = GgmlTensor.from_address(pointer)
    return Operand(tensor.type, tuple(tensor.ne), tuple(tensor.nb), int(library("ggml-base").ggml_nbytes(pointer)))


class NodeCopies(CpuGraph):
    """One pass computes a node some times; each time the same result is written.

    The same operands are read, but for attention's: each copy has a cache of its own, as the layers of a model have.
    """

    def __init__(self, form: NodeForm, n_copies: int) -> None:
        super().__init__()
        self.n_copies = n_copies
        context = new_context(_CONTEXT_BYTES)
        self._contexts.append(context)
        self._memory: list[NDArray[np.uint8]] = []
        sources = [self._tensor(context, each) if each else None for each in form.sources]
        self._fill(form, sources)
        result = self._memory_of(form.result.n_bytes)
        self._graph = self._base.ggml_new_graph(context)
        for _ in range(n_copies):
            copy = self._described(context, form.result)
            tensor = GgmlTensor.from_address(copy)
            tensor.op, tensor.data = form.op, result.ctypes.data
            ctypes.memmove(tensor.op_params, form.params, len(form.params))
            own = _OWN.get(str(self._base.ggml_op_name(form.op).decode()), ())
            for place, source in enumerate(sources):
                operand = form.sources[place]
                tensor.src[place] = self._tensor(context, operand) if operand and place in own else source
            self._base.ggml_build_forward_expand(self._graph, copy)

    def _memory_of(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return zeroed memory that is really there, in pages of the usual size, as llama.cpp's caches are.

        NumPy would ask for huge pages, and memory that was never written is one page of zeros in the processor's cache.
        """
        pages = mmap.mmap(-1, n_bytes + _PADDING)  # starts at a page, so at an address that ggml's kernels expect
        memory = np.frombuffer(pages, dtype=np.uint8)
        memory[:] = 0
        self._memory.append(memory)
        return memory[:n_bytes]

    def _described(self, context: int, operand: Operand) -> int:
        pointer = new_tensor(context, operand.type, *operand.ne)
        tensor = GgmlTensor.from_address(pointer)
        for place, stride in enumerate(operand.nb):
            tensor.nb[place] = stride
        return pointer

    def _tensor(self, context: int, operand: Operand) -> int:
        pointer = self._described(context, operand)
        values = self._memory_of(operand.n_bytes)
        if operand.type == TYPE_F32:
            floats = values[: values.size // 4 * 4].view(np.float32)
            floats[:] = np.random.default_rng(0).standard_normal(floats.size, dtype=np.float32) / 8
        elif operand.type not in (TYPE_I32, TYPE_I64):
            values[:] = _BYTE
        GgmlTensor.from_address(pointer).data = values.ctypes.data
        return pointer

    def _fill(self, form: NodeForm, sources: list[int | None]) -> None:
        """Let rows be chosen as a model chooses them, each one another, and no token attend to later ones."""
        name = str(self._base.ggml_op_name(form.op).decode())
        if name == "FLASH_ATTN_EXT" and len(sources) > _MASK and (mask := sources[_MASK]):
            self._write(mask, causal_mask(form.sources[_MASK]))
        elif name in _CHOOSES and (ids := sources[_CHOOSES[name].ids]):
            operand, table = form.sources[_CHOOSES[name].ids], _CHOOSES[name].table_of(form)
            assert operand is not None
            kind = np.dtype(np.int32 if operand.type == TYPE_I32 else np.int64)
            self._write(ids, np.arange(operand.n_bytes // kind.itemsize, dtype=kind) % table.ne[_CHOOSES[name].dim])

    def _write(self, tensor: int, values: NDArray[Any]) -> None:
        ctypes.memmove(GgmlTensor.from_address(tensor).data, values.ctypes.data, values.nbytes)


class _Choice(NamedTuple):
    """An operation that chooses among the rows of a table, or its matrices."""

    ids: int  # the place among the sources
    table: int | None  # likewise; None: the result
    dim: int  # along which it is chosen

    def table_of(self, form: NodeForm) -> Operand:
        found = form.result if self.table is None else form.sources[self.table]
        assert found is not None
        return found


_CHOOSES = {"GET_ROWS": _Choice(1, 0, 1), "SET_ROWS": _Choice(1, None, 1), "MUL_MAT_ID": _Choice(2, 0, 2)}


def causal_mask(operand: Operand | None) -> NDArray[np.float16]:
    """Return a mask of half floats in which the last tokens of a cache attend to what is before them."""
    assert operand is not None
    n_kv, n_tokens = operand.ne[:2]
    last = n_kv - n_tokens + np.arange(n_tokens)[:, None]
    return np.where(np.arange(n_kv)[None, :] <= last, np.float16(0), np.float16(-np.inf))


def pointers_of(graph: int) -> list[int]:
    """Return the nodes of a graph, in their order."""
    base = library("ggml-base")
    return [base.ggml_graph_node(graph, place) for place in range(base.ggml_graph_n_nodes(graph))]
