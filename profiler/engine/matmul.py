"""Products of weights and activations on ggml's CPU backend: the operation that a model mostly consists of.

The weights are stored where llama.cpp would put them: in the first extra buffer type that supports the operation, which
repacks them, else in plain memory. Only a worker process imports this.
Source: ggml.h, ggml-backend.h, ggml-alloc.h and ggml-cpu.h of the pinned llama.cpp; the order in which buffer types are
tried is that of make_cpu_buft_list and weight_buft_supported in src/llama-model-loader.cpp and src/llama-model.cpp.
"""

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from profiler.engine.cpu_graph import CpuGraph
from profiler.engine.ggml import TYPE_F32, cpu_device, extra_buffer_types, library, new_context, new_tensor
from quant.gguf_io.types import TYPE_BY_NAME
from quant.quantize.kernels import quantize_rows

_N_DISTINCT_ROWS = 8  # synthesized once and repeated; the speed does not depend on the values
_CONTEXT_BYTES = 4 << 20  # room for the descriptions of all matrices and of a graph
_ASKED_TOKENS = 512  # of the product by which llama.cpp chooses where to store a matrix


class Weights(msgspec.Struct, frozen=True):
    """Equal matrices of one type."""

    type_name: str
    n_cols: int  # weights in a row
    n_rows: int
    n_matrices: int = 1

    @property
    def n_bytes(self) -> int:
        """Of all matrices, as a file stores them."""
        return self.n_matrices * TYPE_BY_NAME[self.type_name].nbytes((self.n_cols, self.n_rows))

    @property
    def n_weights(self) -> int:
        """Of all matrices."""
        return self.n_matrices * self.n_rows * self.n_cols


class MatMul(CpuGraph):
    """One pass multiplies each of some matrices with the same activations of some tokens."""

    def __init__(self, weights: Weights, *, repack: bool = True) -> None:
        """Store the weights.

        Raises:
            MemoryError: there is not enough.
        """
        super().__init__()
        self.weights = weights
        self._plain = int(self._base.ggml_backend_dev_buffer_type(cpu_device()))
        self._matrices, buffer_type = self._stored(repack=repack)
        self.buffer = str(self._base.ggml_backend_buft_name(buffer_type).decode(errors="replace"))
        self._rows = synthetic_rows(weights.n_cols)
        blocks = _blocks(self._rows, weights)
        for matrix in self._matrices:
            self._set(matrix, blocks)  # a repacking buffer takes a tensor whole or not at all
        self._product = 0
        self.use()

    def use(self, n_tokens: int = 1, n_matrices: int | None = None) -> None:
        """Let the next passes multiply the first of the matrices, or all, with so many tokens."""
        matrices = self._matrices[:n_matrices]
        context = new_context(_CONTEXT_BYTES)
        self._contexts.append(context)
        vectors = new_tensor(context, TYPE_F32, self.weights.n_cols, n_tokens)
        products = [self._base.ggml_mul_mat(context, matrix, vectors) for matrix in matrices]
        self._graph = self._base.ggml_new_graph(context)
        for product in products:
            self._base.ggml_build_forward_expand(self._graph, product)
        self._allocate(context, self._plain)
        self._set(vectors, np.resize(self._rows, (n_tokens, self.weights.n_cols)))
        self._product = products[-1]

    def _stored(self, *, repack: bool) -> tuple[list[int], int]:
        """Return the matrices, allocated, and the type of their buffer."""
        weights, number = self.weights, TYPE_BY_NAME[self.weights.type_name].number
        for buffer_type in (*(extra_buffer_types() if repack else ()), self._plain):
            context = new_context(_CONTEXT_BYTES)
            self._contexts.append(context)
            matrices = [new_tensor(context, number, weights.n_cols, weights.n_rows) for _ in range(weights.n_matrices)]
            self._allocate(context, buffer_type)
            vectors = new_tensor(context, TYPE_F32, weights.n_cols, _ASKED_TOKENS)
            asked = self._base.ggml_mul_mat(context, matrices[0], vectors)
            if buffer_type == self._plain or self._base.ggml_backend_dev_supports_op(cpu_device(), asked):
                return matrices, buffer_type
            self._free_tensors()
        raise AssertionError

    def _set(self, tensor: int, values: NDArray[Any]) -> None:
        self._base.ggml_backend_tensor_set(tensor, values.ctypes.data, 0, values.nbytes)

    def result(self) -> NDArray[np.float32]:
        """Return the last matrix' products of the last pass, `(n_tokens, n_rows) float32`."""
        n_bytes = library("ggml-base").ggml_nbytes(self._product)
        product = np.empty(n_bytes // 4, dtype=np.float32)
        self._base.ggml_backend_tensor_get(self._product, product.ctypes.data, 0, product.nbytes)
        return product.reshape(-1, self.weights.n_rows)


def synthetic_rows(n_cols: int) -> NDArray[np.float32]:
    """Return the rows that the weights repeat, `(8, n_cols) float32`; the first ones are also the activations."""
    return np.random.default_rng(0).standard_normal((_N_DISTINCT_ROWS, n_cols), dtype=np.float32)


def _blocks(rows: NDArray[np.float32], weights: Weights) -> NDArray[np.uint8]:
    """Return a matrix of the rows, repeated, as its type stores it."""
    importance = np.ones(weights.n_cols, dtype=np.float32)  # some types are not made without
    some = quantize_rows(rows.ravel(), weights.n_cols, weights.type_name, importance)
    return np.resize(some, TYPE_BY_NAME[weights.type_name].nbytes((weights.n_cols, weights.n_rows)))
