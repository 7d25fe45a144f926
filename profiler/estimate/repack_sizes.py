"""Which matrices would be repacked on this CPU? ggml is asked what llama.cpp asks it before it loads a tensor.

For each of the CPU's extra buffer types, best first: would the device multiply by a tensor of this type and shape that
lies there? Only a worker process imports this.
Source: weight_buft_supported in src/llama-model-loader.cpp and make_cpu_buft_list in src/llama-model.cpp of the pinned
llama.cpp.
"""

import ctypes
from functools import cache
from typing import Any

from profiler.engine.ggml import library
from profiler.engine.nodes import GgmlTensor
from quant.gguf_io.types import TYPE_BY_NAME

_CONTEXT_BYTES = 1 << 16  # room for the descriptions of four tensors
_N_TOKENS = 512  # of the batch that llama.cpp asks about
_F32, _I32 = 0, 26  # enum ggml_type
_POINTER, _SIZE = ctypes.c_void_p, ctypes.c_size_t


class _InitParams(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_ = (("mem_size", _SIZE), ("mem_buffer", _POINTER), ("no_alloc", ctypes.c_bool))


_DECLARED: dict[str, dict[str, tuple[Any, ...]]] = {
    "ggml-base": {
        "ggml_init": (_POINTER, _InitParams),
        "ggml_free": (None, _POINTER),
        "ggml_new_tensor_4d": (_POINTER, _POINTER, ctypes.c_int, *[ctypes.c_int64] * 4),
        "ggml_mul_mat": (_POINTER, _POINTER, _POINTER, _POINTER),
        "ggml_mul_mat_id": (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER),
        "ggml_backend_buffer_free": (None, _POINTER),
        "ggml_backend_buft_alloc_buffer": (_POINTER, _POINTER, _SIZE),
        "ggml_backend_buft_get_alloc_size": (_SIZE, _POINTER, _POINTER),
        "ggml_backend_buft_name": (ctypes.c_char_p, _POINTER),
        "ggml_backend_dev_supports_op": (ctypes.c_bool, _POINTER, _POINTER),
        "ggml_backend_reg_dev_get": (_POINTER, _POINTER, _SIZE),
        "ggml_backend_reg_get_proc_address": (_POINTER, _POINTER, ctypes.c_char_p),
    },
    "ggml-cpu": {"ggml_backend_cpu_reg": (_POINTER,)},
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


@cache
def _device_and_extra_buffers() -> tuple[int, tuple[int, ...]]:
    call = _functions()
    register = call["backend_cpu_reg"]()
    device = call["backend_reg_dev_get"](register, 0)
    address = call["backend_reg_get_proc_address"](register, b"ggml_backend_dev_get_extra_bufts")
    if not address:
        return device, ()
    listed = ctypes.CFUNCTYPE(ctypes.POINTER(_POINTER), _POINTER)(address)(device)
    found: list[int] = []
    while listed and listed[len(found)]:
        found.append(listed[len(found)])
    return device, tuple(found)


@cache
def repacked_bytes(type_name: str, dims: tuple[int, ...], *, by_experts: bool = False) -> int:
    """Give the bytes that a matrix takes in a layout of the CPU's own; 0 where it keeps the file's.

    Args:
        dims: the row length first, as in GGUF.
        by_experts: rows are chosen per token, as in a mixture of experts.

    Raises:
        OSError: the library does not hold its tensors as this program thinks.
    """
    device, buffer_types = _device_and_extra_buffers()
    call = _functions()
    for buffer_type in buffer_types:
        context = call["init"](_InitParams(_CONTEXT_BYTES, None, True))
        try:
            weights, product = _product(context, type_name, dims, by_experts)
            buffer = call["backend_buft_alloc_buffer"](buffer_type, 0)
            GgmlTensor.from_address(weights).buffer = buffer
            taken = call["backend_dev_supports_op"](device, product)
            GgmlTensor.from_address(weights).buffer = None
            call["backend_buffer_free"](buffer)
            if taken:
                return int(call["backend_buft_get_alloc_size"](buffer_type, weights))
        finally:
            call["free"](context)
    return 0


def _product(context: int, type_name: str, dims: tuple[int, ...], by_experts: bool) -> tuple[int, int]:
    call = _functions()
    number = TYPE_BY_NAME[type_name].number
    ne = (*dims, 1, 1, 1)[:4]
    weights = call["new_tensor_4d"](context, number, *ne)
    tensor = GgmlTensor.from_address(weights)
    if (tensor.type, *tensor.ne) != (number, *ne) or tensor.buffer:
        raise OSError("this build of llama.cpp lays out its tensors in another way than is known here")
    if by_experts:
        chosen = call["new_tensor_4d"](context, _I32, 1, _N_TOKENS, 1, 1)
        vector = call["new_tensor_4d"](context, _F32, ne[0], 1, _N_TOKENS, 1)
        return weights, call["mul_mat_id"](context, weights, vector, chosen)
    vector = call["new_tensor_4d"](context, _F32, ne[0], _N_TOKENS, ne[2], ne[3])
    return weights, call["mul_mat"](context, weights, vector)
