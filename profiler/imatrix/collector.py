"""An engine that sums up the squares of each matrix's inputs, read between two nodes of the graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from profiler.engine import EngineError
from profiler.engine.ggml import GgmlTensor, library
from profiler.engine.llama import LlamaEngine
from profiler.engine.nodes import NodeReader
from profiler.imatrix.sums import InputSquares, is_collected, weight_of


class CollectingEngine(LlamaEngine):
    """One model; `squares` collects the inputs of its matrices while it reads."""

    def __init__(self, *, with_output: bool) -> None:
        super().__init__()
        self.squares = InputSquares()
        self._with_output = with_output
        self._reader = NodeReader()
        self._problem: EngineError | None = None
        self._base = library("ggml-base")
        self.observe_nodes(self._on_node)

    def prefill_every(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache, with the logits of each.

        Raises:
            EngineError: the engine failed, or the inputs cannot be summed up.
        """
        super().prefill_every(tokens)
        if self._problem is not None:
            raise self._problem

    def _on_node(self, tensor: int, before: bool, _data: object) -> bool:
        # llama.cpp would lose an exception; so the graph is ended, and the problem raised after it.
        if self._problem is not None:
            return False
        try:
            return self._is_collected(tensor) if before else self._collect(tensor)
        except EngineError as error:
            self._problem = error
        except MemoryError:
            self._problem = EngineError("memory", "Python had no memory left")
        return False

    def _is_collected(self, pointer: int) -> bool:
        if GgmlTensor.from_address(pointer).src[1] is None:
            return False
        node = self._reader.read(pointer)
        weight, inputs, *_ = node.sources
        return is_collected(
            node.op, weight_of(weight.name), inputs.shape[1], inputs.type, with_output=self._with_output
        )

    def _collect(self, pointer: int) -> bool:
        node = GgmlTensor.from_address(pointer)
        weight, inputs = GgmlTensor.from_address(node.src[0]), GgmlTensor.from_address(node.src[1])
        name = weight_of(weight.name.decode(errors="replace"))
        values = self._values(node.src[1], inputs, np.float32)
        if node.src[2] is None:
            self.squares.add(name, values, (weight.ne[3], weight.ne[2]))
        else:
            chosen = self._values(node.src[2], GgmlTensor.from_address(node.src[2]), np.int32)
            self.squares.add_experts(name, values[0], chosen[0, 0], weight.ne[2])
        return True

    def _values(self, pointer: int, tensor: GgmlTensor, kind: type[Any]) -> NDArray[Any]:
        """Copy a tensor's elements; there may be gaps between its rows, as in a view."""
        data = np.empty(int(self._base.ggml_nbytes(pointer)), np.uint8)
        self._base.ggml_backend_tensor_get(pointer, data.ctypes.data, 0, data.size)
        shape, strides = tuple(reversed(tensor.ne)), tuple(reversed(tensor.nb))
        return np.ndarray(shape, kind, data.data, strides=strides)
