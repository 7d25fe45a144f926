"""ggml's tensors read by ctypes: names, operations, shapes and sources of a graph's nodes.

Source: `struct ggml_tensor` and its limits in ggml/include/ggml.h of the pinned llama.cpp. No function tells a
tensor's sources, so the struct's layout stands here, and is held against the library's own answers before it is used.
"""

import ctypes
from typing import ClassVar

from profiler.engine import EngineError
from profiler.engine.ggml import library
from profiler.records.graph import Node, Tensor

_MAX_DIMS, _MAX_OP_PARAMS, _MAX_SRC, _MAX_NAME = 4, 64, 10, 64


class GgmlTensor(ctypes.Structure):
    """`struct ggml_tensor`."""

    _fields_: ClassVar = [
        ("type", ctypes.c_int),
        ("buffer", ctypes.c_void_p),
        ("ne", ctypes.c_int64 * _MAX_DIMS),
        ("nb", ctypes.c_size_t * _MAX_DIMS),
        ("op", ctypes.c_int),
        ("op_params", ctypes.c_int32 * (_MAX_OP_PARAMS // 4)),
        ("flags", ctypes.c_int32),
        ("src", ctypes.c_void_p * _MAX_SRC),
        ("view_src", ctypes.c_void_p),
        ("view_offs", ctypes.c_size_t),
        ("data", ctypes.c_void_p),
        ("name", ctypes.c_char * _MAX_NAME),
        ("extra", ctypes.c_void_p),
        ("padding", ctypes.c_char * 8),
    ]


class NodeReader:
    """Read nodes while their graph is alive: in the callback that is called around them."""

    def __init__(self) -> None:
        base = library("ggml-base")
        for name, result, argument in (
            ("ggml_get_name", ctypes.c_char_p, ctypes.c_void_p),
            ("ggml_op_desc", ctypes.c_char_p, ctypes.c_void_p),
            ("ggml_op_name", ctypes.c_char_p, ctypes.c_int),
            ("ggml_nbytes", ctypes.c_size_t, ctypes.c_void_p),
            ("ggml_type_name", ctypes.c_char_p, ctypes.c_int),
            ("ggml_type_size", ctypes.c_size_t, ctypes.c_int),
            ("ggml_blck_size", ctypes.c_int64, ctypes.c_int),
        ):
            function = getattr(base, name)
            function.restype, function.argtypes = result, [argument]
        self._base = base

    def read(self, pointer: int) -> Node:
        """Give a node and its sources.

        Raises:
            EngineError: the library does not hold its tensors as this module thinks.
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
        """Hold the struct against ggml_get_name, ggml_op_desc's operation and ggml_nbytes.

        Raises:
            EngineError: they differ.
        """
        tensor = GgmlTensor.from_address(pointer)
        name = self._base.ggml_get_name(pointer)
        # Compared before anything else is followed: a pointer read from the wrong place would end the process.
        if tensor.name != name or self._base.ggml_nbytes(pointer) != self._n_bytes(tensor):
            raise EngineError(
                "decode", "this build of llama.cpp lays out its tensors in another way than is known here"
            )

    def _n_bytes(self, tensor: GgmlTensor) -> int:
        """Give the span of a tensor's elements, as ggml_nbytes does (ggml/src/ggml.c)."""
        if any(ne <= 0 for ne in tensor.ne):
            return 0
        block = self._base.ggml_blck_size(tensor.type)
        size = self._base.ggml_type_size(tensor.type)
        inner = size if block == 1 else tensor.ne[0] * tensor.nb[0] // block
        first = 0 if block == 1 else 1
        return int(inner + sum((tensor.ne[dim] - 1) * tensor.nb[dim] for dim in range(first, _MAX_DIMS)))

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
