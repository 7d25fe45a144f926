"""Bytes of the KV cache from a model's shape, as llama.cpp sets them aside.

Every layer keeps, for each cell, one key and one value of each KV head. A layer whose attention has a sliding window
keeps cells for the window and one physical batch only, unless the whole cache is asked for.
Source: llama_kv_cache, llama_kv_cache_iswa and create_memory in src/llama-kv-cache*.cpp and llama-model.cpp of the
pinned llama.cpp. Its own log line is held against this; where they differ the log is right.
"""

from collections.abc import Sequence
from typing import NamedTuple

from quant.gguf_io.artifact import artifact_of
from quant.gguf_io.header import GgufHeader

# Architectures that use the window of their header, and how many layers form a group whose last one sees all. Others of
# this program's families read the key and ignore it. Source: src/models/gemma2.cpp and gemma3.cpp.
_WINDOWED = {"gemma2": 2, "gemma3": 6}
N_PAD = 256  # llama.cpp pads the cells of a cache to a multiple of this


class CacheLayer(NamedTuple):
    """What one layer keeps per token."""

    n_head_kv: int
    head_dim_k: int  # with multi-head latent attention that is not absorbed, the head's part with and without rotation
    head_dim_v: int
    window: int | None = None  # tokens that its attention sees; None: all


def padded_cells(n_cells: int) -> int:
    """Round up to what llama.cpp makes of it."""
    return -(-n_cells // N_PAD) * N_PAD


def cells_of(layer: CacheLayer, n_ctx: int, n_ubatch: int, *, swa_full: bool = False) -> int:
    """Give the cells of one layer for one sequence."""
    whole = padded_cells(n_ctx)
    if layer.window is None or swa_full:
        return whole
    return min(whole, padded_cells(layer.window + n_ubatch))


def kv_cache_bytes(
    layers: Sequence[CacheLayer],
    *,
    n_ctx: int,
    n_ubatch: int,
    bytes_per_k: float,
    bytes_per_v: float,
    flash_attn: bool = True,
    swa_full: bool = False,
) -> int:
    """Add up the layers.

    Args:
        bytes_per_k: of one element, scales included: 2 for f16, 34/32 for q8_0.
        flash_attn: without it values lie transposed, and each layer has as many as the widest one.
    """
    widest = max((layer.n_head_kv * layer.head_dim_v for layer in layers), default=0)
    total = sum(
        cells_of(layer, n_ctx, n_ubatch, swa_full=swa_full)
        * (
            layer.n_head_kv * layer.head_dim_k * bytes_per_k
            + (layer.n_head_kv * layer.head_dim_v if flash_attn else widest) * bytes_per_v
        )
        for layer in layers
    )
    return round(total)


def layers_of(header: GgufHeader) -> tuple[CacheLayer, ...] | None:
    """Read the layers of a model; None where its header does not tell the heads, or its windows are not known here."""
    shape = artifact_of(header, "").shape
    if shape is None or shape.n_head_kv is None or shape.head_dim_k is None or shape.head_dim_v is None:
        return None
    arch = header.text("general.architecture") or ""
    windowed = [False] * shape.n_layer
    if shape.sliding_window and arch in _WINDOWED:
        told = header.metadata.get(f"{arch}.attention.sliding_window_pattern")
        group = _WINDOWED[arch]
        windowed = [(layer + 1) % group != 0 for layer in range(shape.n_layer)]
        if isinstance(told, tuple) and len(told) == shape.n_layer:
            windowed = [bool(each) for each in told]
    return tuple(
        CacheLayer(n_head_kv, shape.head_dim_k, shape.head_dim_v, shape.sliding_window if has_window else None)
        for n_head_kv, has_window in zip(shape.n_head_kv, windowed, strict=True)
    )
