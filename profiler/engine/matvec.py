"""A single mat-vec on ggml's CPU backend, by ctypes: the operation that decode consists of.

The weights lie where llama.cpp would put them: in the first extra buffer type that takes the operation, which repacks
them, else in plain memory. Only a worker process imports this.
Source: ggml.h, ggml-backend.h, ggml-alloc.h and ggml-cpu.h of the pinned llama.cpp; the order in which buffer types are
tried is that of make_cpu_buft_list and weight_buft_supported in src/llama-model-loader.cpp and src/llama-model.cpp.
"""

import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.engine.ggml import Threadpool, library
from quant.gguf_io.types import TYPE_BY_NAME, GgmlType

ROW = 4096  # weights in a row: a width that all types divide, and common among models
_ROWS_MADE = 64  # made once and repeated; the speed does not depend on the values
_CONTEXT_BYTES = 1 << 20  # room for a few tensors' descriptions and a graph
_F32 = 0  # enum ggml_type
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t


class _InitParams(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_ = (("mem_size", _SIZE), ("mem_buffer", _POINTER), ("no_alloc", ctypes.c_bool))


_DECLARED: dict[str, dict[str, tuple[Any, ...]]] = {
    "ggml-base": {
        "ggml_init": (_POINTER, _InitParams),
        "ggml_free": (None, _POINTER),
        "ggml_new_tensor_2d": (_POINTER, _POINTER, ctypes.c_int, ctypes.c_int64, ctypes.c_int64),
        "ggml_mul_mat": (_POINTER, _POINTER, _POINTER, _POINTER),
        "ggml_new_graph": (_POINTER, _POINTER),
        "ggml_build_forward_expand": (None, _POINTER, _POINTER),
        "ggml_quantize_chunk": (_SIZE, ctypes.c_int, _POINTER, _POINTER, *[ctypes.c_int64] * 3, _POINTER),
        "ggml_backend_alloc_ctx_tensors_from_buft": (_POINTER, _POINTER, _POINTER),
        "ggml_backend_buffer_free": (None, _POINTER),
        "ggml_backend_buft_name": (ctypes.c_char_p, _POINTER),
        "ggml_backend_dev_buffer_type": (_POINTER, _POINTER),
        "ggml_backend_dev_supports_op": (ctypes.c_bool, _POINTER, _POINTER),
        "ggml_backend_free": (None, _POINTER),
        "ggml_backend_graph_compute": (ctypes.c_int, _POINTER, _POINTER),
        "ggml_backend_reg_dev_get": (_POINTER, _POINTER, _SIZE),
        "ggml_backend_reg_get_proc_address": (_POINTER, _POINTER, ctypes.c_char_p),
        "ggml_backend_tensor_get": (None, _POINTER, _POINTER, _SIZE, _SIZE),
        "ggml_backend_tensor_set": (None, _POINTER, _POINTER, _SIZE, _SIZE),
    },
    "ggml-cpu": {
        "ggml_backend_cpu_init": (_POINTER,),
        "ggml_backend_cpu_reg": (_POINTER,),
        "ggml_backend_cpu_set_n_threads": (None, _POINTER, ctypes.c_int),
        "ggml_backend_cpu_set_threadpool": (None, _POINTER, _POINTER),
    },
}


@cache
def _functions() -> dict[str, Any]:
    found = {}
    for stem, functions in _DECLARED.items():
        for name, (result, *arguments) in functions.items():
            function = getattr(library(stem), name)
            function.restype, function.argtypes = result, arguments
            found[name.removeprefix("ggml_")] = function
    return found


def _extra_buffer_types(register: int, device: int) -> Iterator[int]:
    """Give the CPU's buffer types that store weights in a layout of their own, best first."""
    address = _functions()["backend_reg_get_proc_address"](register, b"ggml_backend_dev_get_extra_bufts")
    if not address:
        return
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(_POINTER), _POINTER)(address)(device)
    index = 0
    while listed and listed[index]:
        yield listed[index]
        index += 1


class MatVec:
    """`n_bytes` of weights of one type times one vector of floats."""

    def __init__(self, type_name: str, n_bytes: int, *, repack: bool = True) -> None:
        self._kind = TYPE_BY_NAME[type_name]
        n_rows = max(1, n_bytes // self._kind.nbytes((ROW, _ROWS_MADE))) * _ROWS_MADE
        self.n_weights = n_rows * ROW
        self.n_bytes = self._kind.nbytes((ROW, n_rows))
        call = _functions()
        register = call["backend_cpu_reg"]()
        device = call["backend_reg_dev_get"](register, 0)
        plain = call["backend_dev_buffer_type"](device)
        self._buffers: list[int] = []
        self._contexts: list[int] = []
        for kind in [*(_extra_buffer_types(register, device) if repack else ()), plain]:
            weights, vector, product = self._make(n_rows, kind)
            if kind == plain or call["backend_dev_supports_op"](device, product):
                break
            self._drop()
        self.buffer = call["backend_buft_name"](kind).decode(errors="replace")
        self._graph = call["new_graph"](self._contexts[1])
        call["build_forward_expand"](self._graph, product)
        self._product = product
        self._buffers.append(self._allocated(self._contexts[1], plain))
        values = made_up()
        # A repacking buffer takes a tensor whole or not at all.
        data = np.tile(_as_type(values, self._kind), n_rows // _ROWS_MADE)
        call["backend_tensor_set"](weights, data.ctypes.data, 0, data.nbytes)
        call["backend_tensor_set"](vector, values.ctypes.data, 0, values[0].nbytes)
        self._backend = call["backend_cpu_init"]()
        self._pool: Threadpool | None = None

    def _make(self, n_rows: int, buffer_type: int) -> tuple[int, int, int]:
        """Make the weights in a buffer of this type; vector and product are described and get memory later."""
        call = _functions()
        for _ in range(2):
            self._contexts.append(call["init"](_InitParams(_CONTEXT_BYTES, None, True)))
        weights = call["new_tensor_2d"](self._contexts[0], self._kind.number, ROW, n_rows)
        self._buffers.append(self._allocated(self._contexts[0], buffer_type))
        vector = call["new_tensor_2d"](self._contexts[1], _F32, ROW, 1)
        return weights, vector, call["mul_mat"](self._contexts[1], weights, vector)

    def _allocated(self, context: int, buffer_type: int) -> int:
        buffer = _functions()["backend_alloc_ctx_tensors_from_buft"](context, buffer_type)
        if not buffer:
            raise MemoryError
        return int(buffer)

    def set_threads(self, n_threads: int) -> None:
        """Let the next passes run on a pool of this many threads."""
        self._free_pool()
        self._pool = Threadpool(n_threads, None)
        _functions()["backend_cpu_set_n_threads"](self._backend, n_threads)
        _functions()["backend_cpu_set_threadpool"](self._backend, self._pool.pointer)

    def run(self) -> None:
        """Multiply once, in all threads, and wait."""
        status = _functions()["backend_graph_compute"](self._backend, self._graph)
        if status:
            raise OSError(f"ggml ended a mat-vec of {self._kind.name} with status {status}")

    def result(self) -> NDArray[np.float32]:
        """Give the product of the last pass, `(n_rows,) float32`."""
        product = np.empty(self.n_weights // ROW, dtype=np.float32)
        _functions()["backend_tensor_get"](self._product, product.ctypes.data, 0, product.nbytes)
        return product

    def _free_pool(self) -> None:
        if self._pool:
            _functions()["backend_cpu_set_threadpool"](self._backend, None)
            self._pool.free()
            self._pool = None

    def _drop(self) -> None:
        call = _functions()
        for buffer in self._buffers:
            call["backend_buffer_free"](buffer)
        for context in self._contexts:
            call["free"](context)
        self._buffers, self._contexts = [], []

    def close(self) -> None:
        """Free everything."""
        self._free_pool()
        _functions()["backend_free"](self._backend)
        self._drop()


def made_up() -> NDArray[np.float32]:
    """Give the rows that the weights repeat, `(64, 4096) float32`; the first one is also the vector."""
    return np.random.default_rng(0).standard_normal((_ROWS_MADE, ROW), dtype=np.float32)


def _as_type(values: NDArray[np.float32], kind: GgmlType) -> NDArray[np.uint8]:
    if kind.name == "f32":
        return values.view(np.uint8).ravel()
    made = np.empty(kind.nbytes((ROW, _ROWS_MADE)), dtype=np.uint8)
    _functions()["quantize_chunk"](kind.number, values.ctypes.data, made.ctypes.data, 0, _ROWS_MADE, ROW, None)
    return made
