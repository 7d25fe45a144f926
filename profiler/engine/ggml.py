"""ggml and libllama through ctypes: every function and struct that llama-cpp-python does not declare.

Source: ggml/include/ggml.h, ggml-backend.h, ggml-alloc.h, ggml-cpu.h and include/llama.h of the pinned llama.cpp.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from typing import Any, ClassVar

from quant.base.llama_package import library_path

MAX_N_THREADS = 512  # GGML_MAX_N_THREADS
MAX_DIMS = 4  # GGML_MAX_DIMS
_MAX_OP_PARAMS, _MAX_SRC, _MAX_NAME = 64, 10, 64
TYPE_F32, TYPE_I32, TYPE_I64 = 0, 26, 27  # enum ggml_type
DEVICE_CPU, DEVICE_GPU, DEVICE_IGPU, DEVICE_ACCEL = range(4)  # enum ggml_backend_dev_type


class ThreadpoolParams(ctypes.Structure):
    """`struct ggml_threadpool_params`."""

    _fields_: ClassVar = [
        ("cpumask", c_bool * MAX_N_THREADS),
        ("n_threads", c_int),
        ("prio", c_int),
        ("poll", c_uint32),
        ("strict_cpu", c_bool),
        ("paused", c_bool),
    ]


class InitParams(ctypes.Structure):
    """`struct ggml_init_params`."""

    _fields_: ClassVar = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


class GgmlTensor(ctypes.Structure):
    """`struct ggml_tensor`. No function returns a tensor's sources, so its layout is spelled out here."""

    _fields_: ClassVar = [
        ("type", c_int),
        ("buffer", c_void_p),
        ("ne", c_int64 * MAX_DIMS),
        ("nb", c_size_t * MAX_DIMS),
        ("op", c_int),
        ("op_params", c_int32 * (_MAX_OP_PARAMS // 4)),
        ("flags", c_int32),
        ("src", c_void_p * _MAX_SRC),
        ("view_src", c_void_p),
        ("view_offs", c_size_t),
        ("data", c_void_p),
        ("name", c_char * _MAX_NAME),
        ("extra", c_void_p),
        ("padding", c_char * 8),
    ]


# `ggml_backend_sched_eval_callback`: node, before (True) or after it, user data -> whether to go on.
EvalCallback = ctypes.CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
_ExtraBufferTypes = ctypes.CFUNCTYPE(POINTER(c_void_p), c_void_p)

# llama_graph_reserve of src/llama-ext.h, which has C++ linkage: builds by other compilers, or with hidden symbols, have
# nothing of this name.
_GRAPH_RESERVE = "_Z19llama_graph_reserveP13llama_contextjjj"
# Function -> result and arguments.
_SIGNATURES: dict[str, dict[str, tuple[Any, ...]]] = {
    "ggml-base": {
        "ggml_backend_alloc_ctx_tensors_from_buft": (c_void_p, c_void_p, c_void_p),
        "ggml_backend_buffer_free": (None, c_void_p),
        "ggml_backend_buft_alloc_buffer": (c_void_p, c_void_p, c_size_t),
        "ggml_backend_buft_get_alloc_size": (c_size_t, c_void_p, c_void_p),
        "ggml_backend_buft_name": (c_char_p, c_void_p),
        "ggml_backend_dev_buffer_type": (c_void_p, c_void_p),
        "ggml_backend_dev_description": (c_char_p, c_void_p),
        "ggml_backend_dev_memory": (None, c_void_p, POINTER(c_size_t), POINTER(c_size_t)),
        "ggml_backend_dev_name": (c_char_p, c_void_p),
        "ggml_backend_dev_supports_op": (c_bool, c_void_p, c_void_p),
        "ggml_backend_dev_type": (c_int, c_void_p),
        "ggml_backend_free": (None, c_void_p),
        "ggml_graph_n_nodes": (c_int, c_void_p),
        "ggml_graph_node": (c_void_p, c_void_p, c_int),
        "ggml_graph_overhead_custom": (c_size_t, c_size_t, c_bool),
        "ggml_tensor_overhead": (c_size_t,),
        "ggml_backend_graph_compute": (c_int, c_void_p, c_void_p),
        "ggml_backend_reg_dev_get": (c_void_p, c_void_p, c_size_t),
        "ggml_backend_reg_get_proc_address": (c_void_p, c_void_p, c_char_p),
        "ggml_backend_tensor_get": (None, c_void_p, c_void_p, c_size_t, c_size_t),
        "ggml_backend_tensor_set": (None, c_void_p, c_void_p, c_size_t, c_size_t),
        "ggml_blck_size": (c_int64, c_int),
        "ggml_build_forward_expand": (None, c_void_p, c_void_p),
        "ggml_commit": (c_char_p,),
        "ggml_free": (None, c_void_p),
        "ggml_gallocr_alloc_graph": (c_bool, c_void_p, c_void_p),
        "ggml_gallocr_free": (None, c_void_p),
        "ggml_gallocr_new": (c_void_p, c_void_p),
        "ggml_gallocr_reserve": (c_bool, c_void_p, c_void_p),
        "ggml_get_name": (c_char_p, c_void_p),
        "ggml_init": (c_void_p, InitParams),
        "ggml_mul_mat": (c_void_p, c_void_p, c_void_p, c_void_p),
        "ggml_mul_mat_id": (c_void_p, c_void_p, c_void_p, c_void_p, c_void_p),
        "ggml_nbytes": (c_size_t, c_void_p),
        "ggml_new_graph": (c_void_p, c_void_p),
        "ggml_new_tensor_4d": (c_void_p, c_void_p, c_int, *[c_int64] * MAX_DIMS),
        "ggml_op_desc": (c_char_p, c_void_p),
        "ggml_op_name": (c_char_p, c_int),
        "ggml_threadpool_params_init": (None, POINTER(ThreadpoolParams), c_int),
        "ggml_type_name": (c_char_p, c_int),
        "ggml_type_size": (c_size_t, c_int),
    },
    "ggml-cpu": {
        "ggml_backend_cpu_init": (c_void_p,),
        "ggml_backend_cpu_reg": (c_void_p,),
        "ggml_backend_cpu_set_n_threads": (None, c_void_p, c_int),
        "ggml_backend_cpu_set_threadpool": (None, c_void_p, c_void_p),
        "ggml_threadpool_free": (None, c_void_p),
        "ggml_threadpool_new": (c_void_p, POINTER(ThreadpoolParams)),
    },
    "ggml": {
        "ggml_backend_dev_count": (c_size_t,),
        "ggml_backend_dev_get": (c_void_p, c_size_t),
    },
    "llama": {
        "llama_attach_threadpool": (None, c_void_p, c_void_p, c_void_p),
    },
}


@cache
def library(stem: str) -> ctypes.CDLL:
    """Return a shared library of llama-cpp-python, its functions declared: "ggml-base", "ggml-cpu", "ggml" or "llama".

    Raises:
        OSError: the build has no such library.
    """
    import quant.base.llama_bindings  # noqa: F401  loads the libraries that this one depends on

    opened = ctypes.CDLL(str(library_path(stem)))
    for name, (result, *arguments) in _SIGNATURES[stem].items():
        function = getattr(opened, name)
        function.restype, function.argtypes = result, arguments
    return opened


def devices() -> list[int]:
    """Return ggml's devices, as ggml orders them."""
    ggml = library("ggml")
    return [ggml.ggml_backend_dev_get(index) for index in range(ggml.ggml_backend_dev_count())]


def device_name(device: int) -> str:
    """Return ggml's name of a device, like "CPU" or "CUDA0"."""
    return str(library("ggml-base").ggml_backend_dev_name(device).decode(errors="replace"))


@cache
def cpu_device() -> int:
    """Return the CPU as a device."""
    return int(library("ggml-base").ggml_backend_reg_dev_get(library("ggml-cpu").ggml_backend_cpu_reg(), 0))


@cache
def extra_buffer_types() -> tuple[int, ...]:
    """Return the CPU's buffer types that store weights in a layout of their own (repacked), best first."""
    register = library("ggml-cpu").ggml_backend_cpu_reg()
    name = b"ggml_backend_dev_get_extra_bufts"
    address = library("ggml-base").ggml_backend_reg_get_proc_address(register, name)
    listed = _ExtraBufferTypes(address)(cpu_device()) if address else None
    found: list[int] = []
    while listed and listed[len(found)]:
        found.append(listed[len(found)])
    return tuple(found)


def new_context(n_bytes: int) -> int:
    """Return a ggml context for descriptions of tensors, which get no memory of their own; ggml_free frees it."""
    return int(library("ggml-base").ggml_init(InitParams(n_bytes, None, True)))


def new_tensor(context: int, kind: int, *dims: int) -> int:
    """Describe a tensor of a ggml type in a context; the row length comes first, missing dimensions are 1."""
    return int(library("ggml-base").ggml_new_tensor_4d(context, kind, *(*dims, 1, 1, 1)[:MAX_DIMS]))


class Threadpool:
    """A ggml thread pool with ggml's default priority and polling, as llama-bench makes it."""

    def __init__(self, n_threads: int, cores: Sequence[int] | None, *, paused: bool = False) -> None:
        params = ThreadpoolParams()
        library("ggml-base").ggml_threadpool_params_init(ctypes.byref(params), n_threads)
        for core in cores or ():
            params.cpumask[core] = True
        params.paused = paused
        self.pointer: int | None = library("ggml-cpu").ggml_threadpool_new(ctypes.byref(params))
        if not self.pointer:
            raise OSError(f"ggml made no thread pool of {n_threads} threads")

    def free(self) -> None:
        """Stop the pool's threads."""
        if self.pointer:
            library("ggml-cpu").ggml_threadpool_free(self.pointer)
            self.pointer = None


def attach_threadpools(context: int, decode: Threadpool, prefill: Threadpool | None = None) -> None:
    """Run a llama context on these pools; without one for prefill, both phases share the first."""
    library("llama").llama_attach_threadpool(context, decode.pointer, prefill.pointer if prefill else None)


@cache
def _graph_reserve() -> Any:
    function = getattr(library("llama"), _GRAPH_RESERVE, None)
    if function is not None:
        function.restype, function.argtypes = c_void_p, (c_void_p, c_uint32, c_uint32, c_uint32)
    return function


def graph_of_context(context: int, n_tokens: int, n_outputs: int) -> int | None:
    """Return a llama context's graph for a batch of one sequence; it is valid until the next call.

    None where this build of llama.cpp does not export the function that makes it.
    """
    function = _graph_reserve()
    return None if function is None else int(function(context, n_tokens, 1, n_outputs))
