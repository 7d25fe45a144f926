"""A single mat-vec on ggml's CPU backend, by ctypes: the operation that decode consists of.

The weights are stored where llama.cpp would put them: in the first extra buffer type that supports the operation, which
repacks them, else in plain memory. Only a worker process imports this.
Source: ggml.h, ggml-backend.h, ggml-alloc.h and ggml-cpu.h of the pinned llama.cpp; the order in which buffer types are
tried is that of make_cpu_buft_list and weight_buft_supported in src/llama-model-loader.cpp and src/llama-model.cpp.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.engine.ggml import (
    TYPE_F32,
    Threadpool,
    cpu_device,
    extra_buffer_types,
    library,
    new_context,
    new_tensor,
)
from quant.gguf_io.types import TYPE_BY_NAME
from quant.quantize.kernels import quantize_rows

ROW = 4096  # weights in a row: a width that all types divide, and common among models
_N_DISTINCT_ROWS = 64  # synthesized once and repeated; the speed does not depend on the values
_CONTEXT_BYTES = 1 << 20  # room for a few tensors' descriptions and a graph


class MatVec:
    """`n_bytes` of weights of one type times one vector of floats."""

    def __init__(self, type_name: str, n_bytes: int, *, repack: bool = True) -> None:
        self._kind = TYPE_BY_NAME[type_name]
        n_repeats = max(1, n_bytes // self._kind.nbytes((ROW, _N_DISTINCT_ROWS)))
        n_rows = n_repeats * _N_DISTINCT_ROWS
        self.n_weights = n_rows * ROW
        self.n_bytes = self._kind.nbytes((ROW, n_rows))
        self._base, self._cpu = library("ggml-base"), library("ggml-cpu")
        self._buffers: list[int] = []
        self._contexts: list[int] = []
        self._pool: Threadpool | None = None
        plain = self._base.ggml_backend_dev_buffer_type(cpu_device())
        for buffer_type in (*(extra_buffer_types() if repack else ()), plain):
            weights, vector, self._product = self._describe(n_rows, buffer_type)
            if buffer_type == plain or self._base.ggml_backend_dev_supports_op(cpu_device(), self._product):
                break
            self._free_tensors()
        self.buffer = self._base.ggml_backend_buft_name(buffer_type).decode(errors="replace")
        self._graph = self._base.ggml_new_graph(self._contexts[1])
        self._base.ggml_build_forward_expand(self._graph, self._product)
        self._allocate(self._contexts[1], plain)
        rows = synthetic_rows()
        # A repacking buffer takes a tensor whole or not at all.
        self._set(weights, np.tile(quantize_rows(rows.ravel(), ROW, type_name, None), n_repeats))
        self._set(vector, rows[0])
        self._backend = self._cpu.ggml_backend_cpu_init()

    def _describe(self, n_rows: int, buffer_type: int) -> tuple[int, int, int]:
        """Allocate the weights in a buffer of this type; vector and product are described and get memory later."""
        self._contexts = [new_context(_CONTEXT_BYTES), new_context(_CONTEXT_BYTES)]
        of_weights, of_rest = self._contexts
        weights = new_tensor(of_weights, self._kind.number, ROW, n_rows)
        self._allocate(of_weights, buffer_type)
        vector = new_tensor(of_rest, TYPE_F32, ROW)
        return weights, vector, self._base.ggml_mul_mat(of_rest, weights, vector)

    def _allocate(self, context: int, buffer_type: int) -> None:
        buffer = self._base.ggml_backend_alloc_ctx_tensors_from_buft(context, buffer_type)
        if not buffer:
            raise MemoryError
        self._buffers.append(buffer)

    def _set(self, tensor: int, values: NDArray[Any]) -> None:
        self._base.ggml_backend_tensor_set(tensor, values.ctypes.data, 0, values.nbytes)

    def set_threads(self, n_threads: int) -> None:
        """Run the next passes on a pool of this many threads."""
        self._free_pool()
        self._pool = Threadpool(n_threads, None)
        self._cpu.ggml_backend_cpu_set_n_threads(self._backend, n_threads)
        self._cpu.ggml_backend_cpu_set_threadpool(self._backend, self._pool.pointer)

    def run(self) -> None:
        """Multiply once, in all threads, and wait.

        Raises:
            OSError: ggml could not.
        """
        status = self._base.ggml_backend_graph_compute(self._backend, self._graph)
        if status:
            raise OSError(f"ggml ended a mat-vec of {self._kind.name} with status {status}")

    def result(self) -> NDArray[np.float32]:
        """Return the product of the last pass, `(n_rows,) float32`."""
        product = np.empty(self.n_weights // ROW, dtype=np.float32)
        self._base.ggml_backend_tensor_get(self._product, product.ctypes.data, 0, product.nbytes)
        return product

    def _free_pool(self) -> None:
        if self._pool:
            self._cpu.ggml_backend_cpu_set_threadpool(self._backend, None)
            self._pool.free()
            self._pool = None

    def _free_tensors(self) -> None:
        for buffer in self._buffers:
            self._base.ggml_backend_buffer_free(buffer)
        for context in self._contexts:
            self._base.ggml_free(context)
        self._buffers, self._contexts = [], []

    def close(self) -> None:
        """Free everything."""
        self._free_pool()
        self._base.ggml_backend_free(self._backend)
        self._free_tensors()


def synthetic_rows() -> NDArray[np.float32]:
    """Return the rows that the weights repeat, `(64, 4096) float32`; the first one is also the vector."""
    return np.random.default_rng(0).standard_normal((_N_DISTINCT_ROWS, ROW), dtype=np.float32)
