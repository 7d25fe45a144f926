"""The least memory that a cell needs, known before its model is opened."""

from profiler.analysis.kv_cache import max_kv_cache_bytes, padded_cells
from profiler.records.config import RunConfig
from quant.gguf_io.artifact import Artifact, Shape

_WORKER_BYTES = 80 << 20  # Python, numpy and the libraries before a model is opened, measured on x86-64 Linux
_FLOAT_BYTES = 4


def compute_buffer_bytes(shape: Shape, config: RunConfig) -> int:
    """Return the rough size of llama.cpp's compute buffer: the widest feed-forward activations, and the logits kept."""
    n_tokens = min(config.n_ubatch, config.n_batch, padded_cells(config.n_ctx))
    n_outputs = min(config.n_outputs_max or n_tokens, n_tokens)
    widest = max(shape.n_ff or (4 * shape.n_embd,))
    return _FLOAT_BYTES * (n_tokens * (2 * widest + 4 * shape.n_embd) + n_outputs * shape.n_vocab)


def needed_bytes(artifact: Artifact, config: RunConfig) -> int:
    """Return the memory without which a cell pages or fails: weights once, cache, compute buffer, the worker itself.

    The weights count once even where llama.cpp repacks them: the system can then drop the mapped original.
    """
    total = artifact.tensor_bytes + _WORKER_BYTES
    if artifact.shape is not None:
        total += (max_kv_cache_bytes(artifact.shape, config) or 0) + compute_buffer_bytes(artifact.shape, config)
    return total
