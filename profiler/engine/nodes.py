"""A graph's nodes, read while llama.cpp computes them: names, operations, shapes and sources."""

from profiler.engine import EngineError
from profiler.engine.ggml import MAX_DIMS, GgmlTensor, library
from profiler.records.graph import Node, Tensor

UNKNOWN_LAYOUT = "this build of llama.cpp has another ggml_tensor struct; install the pinned llama-cpp-python"


class NodeReader:
    """Read nodes while their graph is alive: in the callback that is called around them."""

    def __init__(self) -> None:
        self._base = library("ggml-base")

    def read(self, pointer: int) -> Node:
        """Return a node and its sources.

        Raises:
            EngineError: the library lays out its tensors in another way than `GgmlTensor`.
        """
        self._check(pointer)
        tensor = GgmlTensor.from_address(pointer)
        sources = [each for each in tensor.src if each]
        return Node(
            op=self._text("ggml_op_name", tensor.op),
            label=self._text("ggml_op_desc", pointer),
            result=self._tensor(pointer),
            sources=tuple(self._tensor(each) for each in sources),
        )

    def _check(self, pointer: int) -> None:
        """Compare the struct with ggml_get_name and ggml_nbytes.

        Raises:
            EngineError: they differ.
        """
        tensor = GgmlTensor.from_address(pointer)
        name = self._base.ggml_get_name(pointer)
        # Compared before anything else is followed: a pointer read from the wrong place would end the process.
        if tensor.name != name or self._base.ggml_nbytes(pointer) != self._n_bytes(tensor):
            raise EngineError("decode", UNKNOWN_LAYOUT)

    def _n_bytes(self, tensor: GgmlTensor) -> int:
        """Return the span of a tensor's elements, as ggml_nbytes does. Source: ggml/src/ggml.c."""
        if any(ne <= 0 for ne in tensor.ne):
            return 0
        block = self._base.ggml_blck_size(tensor.type)
        size = self._base.ggml_type_size(tensor.type)
        inner = size if block == 1 else tensor.ne[0] * tensor.nb[0] // block
        first = 0 if block == 1 else 1
        return int(inner + sum((tensor.ne[dim] - 1) * tensor.nb[dim] for dim in range(first, MAX_DIMS)))

    def _tensor(self, pointer: int) -> Tensor:
        tensor = GgmlTensor.from_address(pointer)
        ne0, ne1, ne2, ne3 = tensor.ne
        return Tensor(
            name=tensor.name.decode(errors="replace"),
            op=self._text("ggml_op_name", tensor.op),
            type=self._text("ggml_type_name", tensor.type),
            shape=(ne0, ne1, ne2, ne3),
            block_elements=self._base.ggml_blck_size(tensor.type),
            block_bytes=self._base.ggml_type_size(tensor.type),
        )

    def _text(self, function: str, argument: int) -> str:
        return str(getattr(self._base, function)(argument).decode(errors="replace"))
