"""Cells and bytes of the KV cache from a model's shape, as llama.cpp allocates them.

Every layer keeps, for each cell, one key and one value of each KV head; recurrent layers have no KV heads and
keep a state instead. A layer whose attention has a sliding window keeps cells for the window and one physical batch
only, unless the whole cache is requested (swa_full).
Source: llama_kv_cache, llama_kv_cache_iswa and create_memory in src/llama-kv-cache*.cpp and llama-model.cpp of the
pinned llama.cpp. Its own log line is compared with this; where they differ the log is right.
"""

from collections.abc import Sequence
from typing import NamedTuple

from profiler.records.config import CACHE_TYPES, RunConfig
from quant.gguf_io.artifact import Shape, artifact_of
from quant.gguf_io.header import GgufHeader

# Architectures that use the window of their header, and how many layers form a group whose last one sees all. Others of
# this program's families read the key and ignore it.
# Source: the files of these names in src/models/ of the pinned llama.cpp.
_WINDOWED = {
    "gemma2": 2, "gemma3": 6, "gemma3n": 5, "gemma4": 6, "olmo2": 4, "exaone4": 4, "granite_swa": 4, "spark2_5": 4,
    "cohere2": 4, "mellum": 4, "plamo3": 8,
}  # fmt: skip
_CELL_PAD = 256  # llama.cpp pads the cells of a cache to a multiple of this


class CacheLayer(NamedTuple):
    """What one layer keeps per token."""

    n_head_kv: int
    head_dim_k: int  # with multi-head latent attention that is not absorbed, the head's part with and without rotation
    head_dim_v: int
    window: int | None = None  # tokens that its attention sees; None: all


def padded_cells(n_ctx: int) -> int:
    """Return the cells that llama.cpp allocates for a context."""
    return -(-n_ctx // _CELL_PAD) * _CELL_PAD


def windowed_cells(window: int, n_ctx: int, n_ubatch: int) -> int:
    """Return the cells of a layer with a sliding window, for one sequence."""
    return min(padded_cells(n_ctx), padded_cells(window + n_ubatch))


def kv_cache_bytes(layers: Sequence[CacheLayer], config: RunConfig, *, flash_attn: bool = True) -> int:
    """Add up the layers.

    Args:
        flash_attn: without it values are stored transposed, and each layer has as many as the widest one.
    """
    bytes_per_k = CACHE_TYPES[config.type_k].bytes_per_element
    bytes_per_v = CACHE_TYPES[config.type_v].bytes_per_element
    widest = max((layer.n_head_kv * layer.head_dim_v for layer in layers), default=0)
    total = 0.0
    for layer in layers:
        if layer.n_head_kv == 0:
            continue
        if layer.window is None or config.swa_full:
            n_cells = padded_cells(config.n_ctx)
        else:
            n_cells = windowed_cells(layer.window, config.n_ctx, config.n_ubatch)
        n_values = layer.n_head_kv * layer.head_dim_v if flash_attn else widest
        total += n_cells * (layer.n_head_kv * layer.head_dim_k * bytes_per_k + n_values * bytes_per_v)
    return round(total)


def max_kv_cache_bytes(shape: Shape, config: RunConfig) -> int | None:
    """Return the bytes where every layer keeps the whole context, and those of recurrent layers.

    None where the header does not list the heads.
    """
    layers = _layers_of_shape(shape)
    return None if layers is None else kv_cache_bytes(layers, config) + shape.state_bytes


def layers_of(header: GgufHeader) -> tuple[CacheLayer, ...] | None:
    """Return the layers of a model, with their windows; None where its header does not list the heads."""
    shape = artifact_of(header, "").shape
    layers = None if shape is None else _layers_of_shape(shape)
    arch = header.text("general.architecture") or ""
    if shape is None or not layers or not shape.sliding_window or arch not in _WINDOWED:
        return layers
    pattern = header.metadata.get(f"{arch}.attention.sliding_window_pattern")
    group = pattern if isinstance(pattern, int) and pattern > 0 else _WINDOWED[arch]
    has_window = [(number + 1) % group != 0 for number in range(shape.n_layer)]
    if isinstance(pattern, tuple) and len(pattern) == shape.n_layer:
        has_window = [bool(each) for each in pattern]
    # Heads of layers with a window may have sizes of their own.
    size_k = header.whole(f"{arch}.attention.key_length_swa")
    size_v = header.whole(f"{arch}.attention.value_length_swa")
    return tuple(
        CacheLayer(layer.n_head_kv, size_k or layer.head_dim_k, size_v or layer.head_dim_v, shape.sliding_window)
        if windowed
        else layer
        for layer, windowed in zip(layers, has_window, strict=True)
    )


def _layers_of_shape(shape: Shape) -> tuple[CacheLayer, ...] | None:
    if shape.n_head_kv is not None and not any(shape.n_head_kv):
        return ()
    if shape.n_head_kv is None or shape.head_dim_k is None or shape.head_dim_v is None:
        return None
    return tuple(CacheLayer(n_head_kv, shape.head_dim_k, shape.head_dim_v) for n_head_kv in shape.n_head_kv)


def beyond_training(model: str, n_ctx: int, n_ctx_train: int) -> str | None:
    """Return what a context means that is longer than the texts that a model was trained on; None where it is not."""
    if n_ctx <= n_ctx_train:
        return None
    return (
        f"{model} was trained on {n_ctx_train} tokens of context: at {n_ctx} speed and memory count, its text does not"
    )
