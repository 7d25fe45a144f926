"""An engine that adds up the squares of what enters each matrix, seen between two nodes of the graph."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.engine import EngineError
from profiler.engine.ggml import library
from profiler.engine.llama import LlamaEngine
from profiler.engine.nodes import GgmlTensor, NodeReader
from profiler.imatrix.sums import Sums, wanted, weight_of

# ggml_backend_sched_eval_callback, ggml-backend.h
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)


class InputsEngine(LlamaEngine):
    """One model whose matrices' inputs are collected in `sums` while it reads."""

    def __init__(self, *, with_output: bool) -> None:
        super().__init__()
        self.sums = Sums()
        self._with_output = with_output
        self._reader = NodeReader()
        self._problem: EngineError | None = None
        self._base = library("ggml-base")
        self._base.ggml_backend_tensor_get.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_size_t,
        ]
        self._base.ggml_backend_tensor_get.restype = None
        self.on_node = _CALLBACK(self._on_node)

    def prefill_every(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache, with the logits of each.

        Raises:
            EngineError: the engine refused, or what was seen cannot be added up.
        """
        super().prefill_every(tokens)
        if self._problem is not None:
            raise self._problem

    def _on_node(self, node: int, ask: bool, _data: object) -> bool:
        # An exception would be lost in llama.cpp; the graph is ended instead, and the problem told after it.
        if self._problem is not None:
            return False
        try:
            return self._is_wanted(node) if ask else self._collect(node)
        except EngineError as error:
            self._problem = error
        except MemoryError:
            self._problem = EngineError("memory", "Python had no memory left")
        return False

    def _is_wanted(self, pointer: int) -> bool:
        if GgmlTensor.from_address(pointer).src[1] is None:
            return False
        node = self._reader.read(pointer)
        weight, inputs, *_ = node.sources
        return wanted(node.op, weight_of(weight.name), inputs.shape[1], inputs.type, with_output=self._with_output)

    def _collect(self, pointer: int) -> bool:
        node = GgmlTensor.from_address(pointer)
        weight, inputs = GgmlTensor.from_address(node.src[0]), GgmlTensor.from_address(node.src[1])
        name = weight_of(weight.name.decode(errors="replace"))
        values = self._values(node.src[1], inputs, np.float32)
        if node.src[2] is None:
            self.sums.add(name, values, (weight.ne[3], weight.ne[2]))
        else:
            chosen = self._values(node.src[2], GgmlTensor.from_address(node.src[2]), np.int32)
            self.sums.add_experts(name, values[0], chosen[0, 0], weight.ne[2])
        return True

    def _values(self, pointer: int, tensor: GgmlTensor, kind: type[Any]) -> NDArray[Any]:
        """Copy a tensor's elements; its rows may lie apart, as those of a view do."""
        data = np.empty(int(self._base.ggml_nbytes(pointer)), np.uint8)
        self._base.ggml_backend_tensor_get(pointer, data.ctypes.data, 0, data.size)
        shape, strides = tuple(reversed(tensor.ne)), tuple(reversed(tensor.nb))
        return np.ndarray(shape, kind, data.data, strides=strides)
