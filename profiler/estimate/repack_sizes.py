"""Which matrices would be repacked on this CPU? ggml is asked what llama.cpp asks it before it loads a tensor.

For each of the CPU's extra buffer types, best first: does the device support a product with a tensor of this type and
shape stored there? Only a worker process imports this.
Source: weight_buft_supported in src/llama-model-loader.cpp and make_cpu_buft_list in src/llama-model.cpp of the pinned
llama.cpp.
"""

from functools import cache

from profiler.engine.ggml import (
    MAX_DIMS,
    TYPE_F32,
    TYPE_I32,
    GgmlTensor,
    cpu_device,
    extra_buffer_types,
    library,
    new_context,
    new_tensor,
)
from profiler.engine.nodes import UNKNOWN_LAYOUT
from quant.gguf_io.types import TYPE_BY_NAME

_CONTEXT_BYTES = 1 << 16  # room for the descriptions of four tensors
_N_TOKENS = 512  # of the batch that llama.cpp asks about


@cache
def repacked_bytes(type_name: str, dims: tuple[int, ...], *, by_experts: bool = False) -> int:
    """Return the bytes of a matrix repacked for this CPU; 0 where it keeps the file's layout.

    Args:
        dims: the row length first, as in GGUF.
        by_experts: rows are chosen per token, as in a mixture of experts.

    Raises:
        OSError: the library lays out its tensors in another way than `GgmlTensor`.
    """
    base = library("ggml-base")
    for buffer_type in extra_buffer_types():
        context = new_context(_CONTEXT_BYTES)
        try:
            weights, product = _describe_product(context, type_name, dims, by_experts)
            buffer = base.ggml_backend_buft_alloc_buffer(buffer_type, 0)
            GgmlTensor.from_address(weights).buffer = buffer
            is_supported = base.ggml_backend_dev_supports_op(cpu_device(), product)
            GgmlTensor.from_address(weights).buffer = None
            base.ggml_backend_buffer_free(buffer)
            if is_supported:
                return int(base.ggml_backend_buft_get_alloc_size(buffer_type, weights))
        finally:
            base.ggml_free(context)
    return 0


def _describe_product(context: int, type_name: str, dims: tuple[int, ...], by_experts: bool) -> tuple[int, int]:
    base, number = library("ggml-base"), TYPE_BY_NAME[type_name].number
    weights = new_tensor(context, number, *dims)
    tensor = GgmlTensor.from_address(weights)
    shape = (*dims, 1, 1, 1)[:MAX_DIMS]
    if (tensor.type, *tensor.ne) != (number, *shape) or tensor.buffer:
        raise OSError(UNKNOWN_LAYOUT)
    if by_experts:
        expert_ids = new_tensor(context, TYPE_I32, 1, _N_TOKENS)
        inputs = new_tensor(context, TYPE_F32, shape[0], 1, _N_TOKENS)
        return weights, base.ggml_mul_mat_id(context, weights, inputs, expert_ids)
    inputs = new_tensor(context, TYPE_F32, shape[0], _N_TOKENS, *shape[2:])
    return weights, base.ggml_mul_mat(context, weights, inputs)
