"""Will it fit? What a cell needs at least, before its model is opened, and what the machine has left."""

from profiler.records.config import CACHE_TYPES, RunConfig
from quant.gguf_io.artifact import Artifact, Shape

_KV_PAD = 256  # llama.cpp pads the cache to this many cells
_WORKER_BYTES = 80 << 20  # Python, numpy and the libraries before a model is opened, measured on x86-64 Linux
_FLOAT_BYTES = 4


def kv_cache_bytes(shape: Shape, config: RunConfig) -> int | None:
    """Give the bytes of keys and values of plain attention; None where the header does not tell the heads.

    Source: llama-kv-cache.cpp of the pinned llama.cpp: padded cells, per layer kv heads times head size. An upper bound
    for layers with a sliding window, which keep less.
    """
    if shape.n_head_kv is None or shape.head_dim_k is None or shape.head_dim_v is None:
        return None
    cells = _padded(config.n_ctx)
    bytes_k = CACHE_TYPES[config.type_k].bytes_per_element
    bytes_v = CACHE_TYPES[config.type_v].bytes_per_element
    per_cell = sum(n_head * (shape.head_dim_k * bytes_k + shape.head_dim_v * bytes_v) for n_head in shape.n_head_kv)
    return round(cells * per_cell)


def _padded(n_cells: int) -> int:
    return -(-n_cells // _KV_PAD) * _KV_PAD


def compute_buffer_bytes(shape: Shape, config: RunConfig) -> int:
    """Give a rough size of llama.cpp's compute buffer: the widest feed-forward activations, and the logits it keeps."""
    n_tokens = min(config.n_ubatch, config.n_batch, _padded(config.n_ctx))
    n_outputs = min(config.n_outputs_max or n_tokens, n_tokens)
    widest = max(shape.n_ff or (4 * shape.n_embd,))
    return _FLOAT_BYTES * (n_tokens * (2 * widest + 4 * shape.n_embd) + n_outputs * shape.n_vocab)


def needed_bytes(artifact: Artifact, config: RunConfig) -> int:
    """Give the memory without which a cell pages or fails: weights once, cache, compute buffer, the worker itself.

    The weights count once even where llama.cpp repacks them: the mapped original can then be dropped by the system.
    """
    total = artifact.tensor_bytes + _WORKER_BYTES
    if artifact.shape is not None:
        total += (kv_cache_bytes(artifact.shape, config) or 0) + compute_buffer_bytes(artifact.shape, config)
    return total
