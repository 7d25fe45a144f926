"""What a model takes in memory beyond its weights, cache and buffers, measured on this device with files of zeros.

Files of almost no weights are measured as `profile` measures: a small one, one with a larger vocabulary, one with more
layers, and for BPE one with a larger vocabulary and its merges. What is resident beyond the known buffers is the
runtime's: libraries that are paged in, the vocabulary, and llama.cpp's graph. The model is linear: a constant for each
token of the vocabulary, each merge and each layer, for each kind of vocabulary. The tokens are synthetic; real ones are
a few bytes longer.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from profiler.analysis.memory_parts import model_rss_of
from profiler.estimate.records import Sizes
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.records.config import RunConfig, base_config
from quant.base.errors import UserError
from quant.base.kept import KeptJson
from quant.base.progress import say
from quant.convert.tokenizer.synthetic import synthetic_vocabulary
from quant.convert.vocabulary_kinds import BPE

_TIMEOUT_S = 120
_TOKENS = 64  # that the tiny files are run with


class Tiny(NamedTuple):
    """A tiny file; merges of BPE only."""

    n_layer: int
    n_vocab: int
    has_merges: bool = False


_SMALL, _WORDY, _DEEP, _MERGED = Tiny(2, 1024), Tiny(2, 66_560), Tiny(34, 1024), Tiny(2, 66_560, True)


class Overheads(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that are resident beyond the buffers that llama.cpp reports, with vocabularies of one kind."""

    base_bytes: int
    per_layer_bytes: float
    per_word_bytes: float
    per_merge_bytes: float

    def runtime_bytes(self, sizes: Sizes) -> int:
        """Return the bytes for one model."""
        words = self.per_word_bytes * sizes.n_vocab + self.per_merge_bytes * sizes.n_merges
        return round(self.base_bytes + self.per_layer_bytes * sizes.n_layer + words)


def fit(small: int, wordy: int, deep: int, merged: int) -> Overheads:
    """Fit the constants to the files' measured bytes."""
    per_layer = max(0, deep - small) / (_DEEP.n_layer - _SMALL.n_layer)
    per_word = max(0, wordy - small) / (_WORDY.n_vocab - _SMALL.n_vocab)
    base = small - per_layer * _SMALL.n_layer - per_word * _SMALL.n_vocab
    return Overheads(
        base_bytes=max(0, round(base)),
        per_layer_bytes=per_layer,
        per_word_bytes=per_word,
        per_merge_bytes=max(0, merged - wordy) / _MERGED.n_vocab,
    )


@cache
def load_overheads(env_id: str, vocabulary: str) -> Overheads:
    """Return what was measured in this environment for a kind of vocabulary, or measure it now and report that.

    Raises:
        UserError: llama.cpp does not run the tiny files, or the system does not report a process's memory.
    """

    def measure() -> Overheads:
        say("running tiny models to measure the runtime's memory; once in this environment and kind of vocabulary")
        return measure_overheads(vocabulary)

    return KeptJson(f"estimate/{env_id}-{vocabulary}.json", Overheads).read_or(measure)


def measure_overheads(vocabulary: str) -> Overheads:
    """Measure the files.

    Raises:
        UserError: as load_overheads.
    """
    shapes = (_SMALL, _WORDY, _DEEP, *([_MERGED] if vocabulary == BPE else []))
    with tempfile.TemporaryDirectory(prefix="slmprof.") as folder, ThreadPoolExecutor(len(shapes)) as pool:
        # At once: only each process's own memory counts, and no time.
        small, wordy, deep, *merged = pool.map(lambda shape: _beyond_buffers(Path(folder), vocabulary, shape), shapes)
    return fit(small, wordy, deep, *(merged or [wordy]))


def _beyond_buffers(folder: Path, vocabulary: str, tiny: Tiny) -> int:
    from quant.convert.layout import layout_of_shape
    from quant.convert.sparse_gguf import file_type, write_sparse_at

    path = folder / f"tiny-{tiny.n_layer}-{tiny.n_vocab}-{tiny.has_merges}.gguf"
    layout = layout_of_shape(_shape(tiny.n_layer, tiny.n_vocab), standin_for="tiny")
    words = synthetic_vocabulary(tiny.n_vocab, layout.family.arch, vocabulary)
    if not tiny.has_merges:
        words.special.merges = []
    keys = layout.keys_with(words)
    write_sparse_at(layout, path, keys, layout.types_at("F16"), file_type(layout, "F16"))
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
