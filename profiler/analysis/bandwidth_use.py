"""MBU (memory bandwidth utilization): how much a decoded token reads, and how near to the device's bandwidth that is.

bytes per token = weights that one token reads (quant/decode_bytes) + keys and values of the tokens in the cache
MBU             = decode tokens per second · bytes per token / read bandwidth at that thread count or the next measured

The cache grows by one token a step, so the mean depth over a decode of n steps from depth d is d + (n + 1) / 2. The
state of recurrent layers is not counted, a small part of what such models read.
"""

from profiler.analysis.kv_cache import max_kv_cache_bytes, padded_cells, windowed_cells
from profiler.records.config import RunConfig
from profiler.records.round import Round
from quant.gguf_io.artifact import Artifact


def decode_bytes_per_token(artifact: Artifact, record: Round) -> float | None:
    """Return the mean bytes that a decode step of this round read; None where a part of it is not known."""
    if artifact.decode_weight_bytes is None or record.buffers is None:
        return None
    cached = _cache_read(artifact, record)
    return None if cached is None else artifact.decode_weight_bytes + cached


def mbu_of(artifact: Artifact, record: Round, decode_tps: float | None) -> float | None:
    """Return the share of the measured read bandwidth that decode used; None where none was measured before."""
    ceiling, n_bytes = record.read_ceiling_bytes_per_s, decode_bytes_per_token(artifact, record)
    # A GPU has a memory of its own, whose bandwidth was not measured.
    if not ceiling or decode_tps is None or n_bytes is None or record.cell.config.device != "cpu":
        return None
    return decode_tps * n_bytes / ceiling


def _cache_read(artifact: Artifact, record: Round) -> float | None:
    """Return the bytes of keys and values that a step reads: llama.cpp's own size of the cache, as far as it is filled.

    That size is right for every kind of cache; only layers with a sliding window differ: they read no
    further back than the window. The state of recurrent layers, which is a part of it, is read once.
    """
    config, total = record.cell.config, record.buffers.kv_cache_bytes if record.buffers else None
    if total is None:
        return None
    depth = config.decode_depth + (config.n_gen + 1) / 2
    n_cells = padded_cells(record.in_force.n_ctx if record.in_force else config.n_ctx)
    window = artifact.shape.sliding_window if artifact.shape else None
    state = artifact.shape.state_bytes if artifact.shape else 0  # read whole, however many cells are filled
    if n_cells < 1 or config.n_ctx < 1 or total < state:
        return None
    if not window:
        return state + (total - state) / n_cells * depth
    read = _windowed_read(artifact, config, total - state, n_cells, window, depth)
    return None if read is None else state + read


def _windowed_read(
    artifact: Artifact, config: RunConfig, total: int, n_cells: int, window: int, depth: float
) -> float | None:
    # Per cell all layers take `whole` bytes. Windowed ones keep fewer cells, so the size shows how the two share it.
    assert artifact.shape is not None
    upper = max_kv_cache_bytes(artifact.shape, config)
    if upper is None:
        return None
    whole = (upper - artifact.shape.state_bytes) / padded_cells(config.n_ctx)
    if depth <= window:
        return whole * depth
    n_windowed = windowed_cells(window, n_cells, config.n_ubatch)
    if n_windowed == n_cells:
        return None
    unlimited = (total - whole * n_windowed) / (n_cells - n_windowed)
    if not 0 <= unlimited <= whole:
        return None
    return unlimited * depth + (whole - unlimited) * window
