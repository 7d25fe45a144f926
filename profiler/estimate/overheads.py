"""What a model takes in memory beyond its weights, cache and buffers, measured on this device with files of zeros.

Three files of almost no weights are measured as `profile` measures: a small one, one with a larger vocabulary, one
with more layers. What is resident beyond the known buffers is the runtime's: libraries that are paged in, the
vocabulary, and llama.cpp's graph. The model is linear: a constant for each token of the vocabulary and for each layer.
The tokens are synthetic; real ones are a few bytes longer.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from profiler.analysis.memory_parts import model_rss_of
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import RunConfig, base_config
from quant.base.errors import UserError
from quant.base.kept import KeptJson
from quant.base.progress import say

_TIMEOUT_S = 120
_TOKENS = 64  # that the tiny files are run with
# Layers and vocabulary of the three files.
_SMALL, _WORDY, _DEEP = (2, 1024), (2, 66_560), (34, 1024)


class Overheads(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are resident beyond the buffers that llama.cpp reports."""

    base_bytes: int
    per_layer_bytes: float
    per_word_bytes: float

    def runtime_bytes(self, n_layer: int, n_vocab: int) -> int:
        """Return the bytes for one model."""
        return round(self.base_bytes + self.per_layer_bytes * n_layer + self.per_word_bytes * n_vocab)


def fit(small: int, wordy: int, deep: int) -> Overheads:
    """Fit the constants to the three files' measured bytes."""
    per_layer = max(0, deep - small) / (_DEEP[0] - _SMALL[0])
    per_word = max(0, wordy - small) / (_WORDY[1] - _SMALL[1])
    base = small - per_layer * _SMALL[0] - per_word * _SMALL[1]
    return Overheads(base_bytes=max(0, round(base)), per_layer_bytes=per_layer, per_word_bytes=per_word)


def load_overheads(env_id: str) -> Overheads:
    """Return what was measured in this environment, or measure it now and report that.

    Raises:
        UserError: llama.cpp does not run the tiny files, or the system does not report a process's memory.
    """

    def measure() -> Overheads:
        say("running three tiny models to measure the runtime's memory; once in this environment")
        return measure_overheads()

    return KeptJson(f"estimate/{env_id}.json", Overheads).read_or(measure)


def measure_overheads() -> Overheads:
    """Measure the three files.

    Raises:
        UserError: as load_overheads.
    """
    shapes = (_SMALL, _WORDY, _DEEP)
    with tempfile.TemporaryDirectory(prefix="slmprof.") as folder, ThreadPoolExecutor(len(shapes)) as pool:
        # At once: only each process's own memory counts, and no time.
        small, wordy, deep = pool.map(lambda shape: _beyond_buffers(Path(folder), *shape), shapes)
    return fit(small, wordy, deep)


def _beyond_buffers(folder: Path, n_layer: int, n_vocab: int) -> int:
    from quant.convert.layout import layout_of_shape
    from quant.convert.sparse_gguf import file_type, write_sparse_at

    path = folder / f"tiny-{n_layer}-{n_vocab}.gguf"
    layout = layout_of_shape(_shape(n_layer, n_vocab), standin_for="tiny")
    write_sparse_at(layout, path, layout.keys, layout.types_at("F16"), file_type(layout, "F16"))
    answer = run_worker(Job(path=str(path), config=_config(), reps=1, seed=0), timeout_s=_TIMEOUT_S)
    measured = answer.measured
    if measured is None:
        reason = answer.failure.message if answer.failure else "no reason given"
        raise UserError(f"llama.cpp does not run a tiny model here: {reason}; see slmprof doctor")
    total, buffers = model_rss_of(measured.memory), measured.buffers
    if total is None:
        raise UserError("this system does not report a process's memory, so it cannot be estimated")
    known = (buffers.weights_bytes, buffers.kv_cache_bytes, buffers.compute_bytes, buffers.output_bytes)
    return total - sum(each or 0 for each in known)


def _shape(n_layer: int, n_vocab: int) -> dict[str, object]:
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": n_layer,
        "num_attention_heads": 1,
        "num_key_value_heads": 1,
        "vocab_size": n_vocab,
        "max_position_embeddings": _TOKENS,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": True,
    }


def _config() -> RunConfig:
    return base_config(
        n_prompt=_TOKENS,
        n_gen=1,
        n_ctx=_TOKENS,
        n_batch=_TOKENS,
        n_outputs_max=1,
        load_mode="none",
        repack=False,
    )
