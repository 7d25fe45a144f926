"""The `Engine` protocol on llama.cpp's low-level API, with every setting spelled out.

Only a worker process imports this: a wrong file can abort the process that opens it.
"""

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from profiler.engine import EngineError
from profiler.engine.ggml import (
    DEVICE_ACCEL,
    DEVICE_CPU,
    DEVICE_GPU,
    DEVICE_IGPU,
    EvalCallback,
    Threadpool,
    attach_threadpools,
    device_name,
    devices,
    library,
)
from profiler.engine.log import Log, buffers_of, flash_attn_of, ignored_of, layers_offloaded_of, max_nodes_of
from profiler.engine.memory_layout import UNCONTROLLED, place_work_buffer
from profiler.records.config import CACHE_TYPES, RunConfig
from profiler.records.round import Buffers, InForce
from quant.base.llama_bindings import llama_cpp, token_ids

_SEQ = 0
_FLASH = {
    "auto": llama_cpp.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED,
    "on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED,
}
_LOAD_MODES = {
    "auto": llama_cpp.LLAMA_LOAD_MODE_AUTO,
    "none": llama_cpp.LLAMA_LOAD_MODE_NONE,
    "mmap": llama_cpp.LLAMA_LOAD_MODE_MMAP,
    "mlock": llama_cpp.LLAMA_LOAD_MODE_MLOCK,
    "mmap+mlock": llama_cpp.LLAMA_LOAD_MODE_MMAP_MLOCK,
    "dio": llama_cpp.LLAMA_LOAD_MODE_DIRECT_IO,
}


class LlamaSnapshot:
    """A sequence's state as llama.cpp serializes it."""

    def __init__(self, data: ctypes.Array[ctypes.c_uint8], n_bytes: int, n_tokens: int) -> None:
        self.data, self.n_bytes, self.n_tokens = data, n_bytes, n_tokens


class LlamaEngine:
    """One model in one context."""

    no_alloc = False  # True: only the header is read, and no buffer is allocated
    n_sequences = 1  # in one context; several share the cells of one KV cache

    def __init__(self, *, work_buffer_offset_bytes: int | None = None) -> None:
        """Args: work_buffer_offset_bytes: where the work buffer is to start, modulo 64; None leaves it to chance."""
        self._offset_bytes = work_buffer_offset_bytes
        self._layout = UNCONTROLLED
        self._log = Log()
        # The callback must live as long as llama.cpp may call it.
        self._on_log = llama_cpp.llama_log_callback(lambda level, text, _data: self._hear(level, text))
        llama_cpp.llama_log_set(self._on_log, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self._model: Any = None
        self._context: Any = None
        self._memory: Any = None
        self._vocab: Any = None
        self._row_type: Any = None
        self._pools: list[Threadpool] = []
        self._config: RunConfig | None = None
        self._one = (llama_cpp.llama_token * 1)()
        self._eval_callback: Any = None

    def _hear(self, level: int, text: bytes) -> None:
        self._log.feed(text.decode(errors="replace"), level)

    def observe_nodes(self, on_node: Callable[[int, bool, object], bool]) -> None:
        """Call `on_node(tensor, before, None)` around every node that the context opened next computes.

        Called before a node, it returns whether the node ends a graph of its own, after which it is called again; what
        it then returns decides whether the rest is computed. It must not raise: llama.cpp would lose the exception.
        """
        self._eval_callback = EvalCallback(on_node)

    def load(self, path: Path, config: RunConfig, before_weights: Callable[[], None] | None = None) -> None:
        """Open the model.

        llama.cpp reports progress before it reads each tensor; its first report comes when header and vocabulary are
        read and all buffers are allocated. Source: load_all_data, src/llama-model-loader.cpp of the pinned llama.cpp.

        Raises:
            EngineError: "load".
        """
        has_begun = False

        def on_progress(_part: float, _data: object) -> bool:
            nonlocal has_begun
            if before_weights and not has_begun:
                has_begun = True
                before_weights()
            return True

        on_progress_pointer = llama_cpp.llama_progress_callback(on_progress)
        params = llama_cpp.llama_model_default_params()
        # An empty list, not NULL: NULL means every device there is.
        self._no_devices = (ctypes.c_void_p * 1)(None)
        params.devices = ctypes.cast(self._no_devices, ctypes.c_void_p) if config.device == "cpu" else None
        params.tensor_buft_overrides = None
        params.n_gpu_layers = config.n_gpu_layers
        params.split_mode = llama_cpp.LLAMA_SPLIT_MODE_LAYER
        params.load_mode = _LOAD_MODES[config.load_mode]
        params.lazy_mode = llama_cpp.LLAMA_LAZY_MODE_OFF
        params.main_gpu = 0
        params.tensor_split = None
        params.kv_overrides = None
        params.vocab_only = False
        params.check_tensors = False
        params.use_extra_bufts = config.repack
        params.no_host = False
        params.no_alloc = self.no_alloc
        params.load_mtp = False
        params.progress_callback = on_progress_pointer
        self._log.begin()
        self._model = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        if not self._model:
            raise EngineError("load", self._log.problem())
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)
        self._row_type = ctypes.c_float * self.n_vocab

    def open_context(self, config: RunConfig) -> None:
        """Make the context and attach its thread pools.

        Raises:
            EngineError: "context".
        """
        on_gpu = config.device == "gpu"
        params = llama_cpp.llama_context_default_params()
        params.n_ctx = config.n_ctx
        params.n_batch = config.n_batch
        params.n_ubatch = config.n_ubatch
        params.n_seq_max = self.n_sequences
        params.n_rs_seq = 0
        params.n_outputs_max = config.n_outputs_max
        params.n_outputs_max_per_seq = 0
        params.n_threads = config.n_threads
        params.n_threads_batch = config.n_threads_batch
        params.ctx_type = llama_cpp.LLAMA_CONTEXT_TYPE_DEFAULT
        params.rope_scaling_type = llama_cpp.LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED
        params.pooling_type = llama_cpp.LLAMA_POOLING_TYPE_UNSPECIFIED
        params.attention_type = llama_cpp.LLAMA_ATTENTION_TYPE_UNSPECIFIED
        params.flash_attn_type = _FLASH[config.flash_attn]
        params.type_k = CACHE_TYPES[config.type_k].ggml_type
        params.type_v = CACHE_TYPES[config.type_v].ggml_type
        params.embeddings = False
        params.offload_kqv = on_gpu
        params.no_perf = True
        params.op_offload = on_gpu
        params.swa_full = config.swa_full
        params.kv_unified = self.n_sequences > 1
        params.samplers = None
        params.n_samplers = 0
        if self._eval_callback is not None:
            params.cb_eval = self._eval_callback
        self._log.begin()
        self._context = llama_cpp.llama_init_from_model(self._model, params)
        if not self._context:
            raise EngineError("context", self._log.problem())
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._config = config
        self._pools = self._threadpools(config)
        attach_threadpools(self._context, *self._pools)

    def place_work_buffer(self) -> None:
        """Fix where the work buffer of the first graph starts, where the system allows it."""
        if self._offset_bytes is not None and self._config is not None:
            self._layout = place_work_buffer(
                self._offset_bytes,
                self._config,
                max_nodes=max_nodes_of(self._log.lines),
                width=int(llama_cpp.llama_model_n_embd(self._model)),
            )

    def _threadpools(self, config: RunConfig) -> list[Threadpool]:
        """Return the pool of decode, then that of prefill where its thread count differs."""
        if config.n_threads == config.n_threads_batch:
            return [Threadpool(config.n_threads, config.cores)]
        decode = Threadpool(config.n_threads, config.cores, paused=True)
        return [decode, Threadpool(config.n_threads_batch, config.cores)]

    @property
    def n_vocab(self) -> int:
        """The number of token ids."""
        return int(llama_cpp.llama_vocab_n_tokens(self._vocab))

    @property
    def bos_token(self) -> int | None:
        """The token that llama.cpp puts before a text; None when it puts none."""
        if not llama_cpp.llama_vocab_get_add_bos(self._vocab):
            return None
        token = int(llama_cpp.llama_vocab_bos(self._vocab))
        return token if token >= 0 else None

    def tokenize(self, text: str) -> list[int]:
        """Return the ids of a text without BOS; empty when the model has no vocabulary."""
        if llama_cpp.llama_vocab_type(self._vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            return []
        return token_ids(self._vocab, text, add_special=False, parse_special=False)

    def clear(self) -> None:
        """Empty the cache; its memory is not touched, as in llama-bench."""
        llama_cpp.llama_memory_clear(self._memory, False)

    def position(self) -> int:
        """Return the number of tokens in the cache."""
        return int(llama_cpp.llama_memory_seq_pos_max(self._memory, _SEQ)) + 1

    def prefill(self, tokens: Sequence[int]) -> None:
        """Put tokens into the cache in batches of n_batch, each with the logits of its last token, and wait."""
        assert self._config is not None
        n_batch = self._config.n_batch
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        step = ctypes.sizeof(llama_cpp.llama_token)
        for first in range(0, len(tokens), n_batch):
            start = ctypes.cast(ctypes.byref(ids, first * step), ctypes.POINTER(llama_cpp.llama_token))
            self._decode(llama_cpp.llama_batch_get_one(start, min(n_batch, len(tokens) - first)))
        llama_cpp.llama_synchronize(self._context)

    def prefill_every(self, tokens: Sequence[int]) -> None:
        """Put one batch of tokens into the cache, with the logits of each, so that no layer drops one; wait."""
        n_tokens = len(tokens)
        ids, flags = (llama_cpp.llama_token * n_tokens)(*tokens), (ctypes.c_int8 * n_tokens)(*[1] * n_tokens)
        batch = llama_cpp.llama_batch_get_one(ids, n_tokens)
        batch.logits = ctypes.cast(flags, ctypes.POINTER(ctypes.c_int8))
        self._decode(batch)
        llama_cpp.llama_synchronize(self._context)

    def decode(self, token: int) -> None:
        """Put one token into the cache, compute the next one's logits, and wait."""
        self._one[0] = token
        self._decode(llama_cpp.llama_batch_get_one(self._one, 1))
        llama_cpp.llama_synchronize(self._context)

    def _decode(self, batch: Any) -> None:
        self._log.begin()
        status = llama_cpp.llama_decode(self._context, batch)
        if status:
            raise EngineError("decode", f"llama_decode returned {status}: {self._log.problem()}")

    def score(self, tokens: Sequence[int], first: int) -> Iterator[tuple[int, np.ndarray]]:
        """Put tokens into an empty cache; yield for each batch a position and the logits from there on.

        Logits are (n, n_vocab) float32, from position `first` to the last but one, and valid until the next batch.
        """
        assert self._config is not None
        self.clear()
        n_batch, last = self._config.n_batch, len(tokens) - 1
        batch = llama_cpp.llama_batch_init(n_batch, 0, 1)
        try:
            for start in range(0, len(tokens), n_batch):
                end = min(start + n_batch, len(tokens))
                batch.n_tokens = end - start
                for index, position in enumerate(range(start, end)):
                    batch.token[index], batch.pos[index] = tokens[position], position
                    batch.n_seq_id[index], batch.seq_id[index][0] = 1, _SEQ
                    batch.logits[index] = first <= position < last
                self._decode(batch)
                llama_cpp.llama_synchronize(self._context)
                begin = max(start, first)
                if (n_rows := min(end, last) - begin) > 0:
                    values = llama_cpp.llama_get_logits(self._context)
                    rows: Any = (self._row_type * n_rows).from_address(ctypes.addressof(values.contents))
                    yield begin, np.frombuffer(rows, dtype=np.float32).reshape(n_rows, self.n_vocab)
        finally:
            llama_cpp.llama_batch_free(batch)

    def greedy(self) -> int:
        """Choose the next token by the largest of the last logits."""
        return int(np.argmax(self._last_logits()))

    def has_finite_logits(self) -> bool:
        """Return whether all of the last logits are finite."""
        return bool(np.isfinite(self._last_logits()).all())

    def _last_logits(self) -> np.ndarray:
        first = llama_cpp.llama_get_logits_ith(self._context, -1)
        row = self._row_type.from_address(ctypes.addressof(first.contents))
        return np.frombuffer(row, dtype=np.float32)

    def snapshot(self) -> LlamaSnapshot:
        """Copy the cache out of the context."""
        self._log.begin()
        n_bytes = int(llama_cpp.llama_state_seq_get_size(self._context, _SEQ))
        data = (ctypes.c_uint8 * n_bytes)()
        written = int(llama_cpp.llama_state_seq_get_data(self._context, data, n_bytes, _SEQ))
        if not written:
            raise EngineError("decode", f"no snapshot of the cache: {self._log.problem()}")
        return LlamaSnapshot(data, written, self.position())

    def restore(self, snapshot: LlamaSnapshot) -> None:
        """Put the cache back to what it was."""
        self.clear()
        self._log.begin()
        if not llama_cpp.llama_state_seq_set_data(self._context, snapshot.data, snapshot.n_bytes, _SEQ):
            raise EngineError("decode", f"the snapshot of the cache was refused: {self._log.problem()}")

    def buffers(self) -> Buffers:
        """Return the sizes of the buffers that llama.cpp allocated."""
        return buffers_of(self._log.lines)

    def in_force(self) -> InForce:
        """Return the settings in force, those that llama.cpp chose itself included."""
        assert self._config is not None
        return InForce(
            flash_attn=flash_attn_of(self._log.lines, self._config.flash_attn),
            n_ctx=int(llama_cpp.llama_n_ctx(self._context)),
            n_batch=int(llama_cpp.llama_n_batch(self._context)),
            n_ubatch=int(llama_cpp.llama_n_ubatch(self._context)),
            backends=_backends_in_force(self._config.device),
            n_layers_offloaded=layers_offloaded_of(self._log.lines) if self._config.device == "gpu" else 0,
            threadpool=bool(self._pools),
            bos_added=self.bos_token is not None,
            layout=self._layout,
            ignored=ignored_of(self._log.lines, self._config),
        )

    def close_context(self) -> None:
        """Free the context and its pools; another can be opened."""
        if self._context:
            llama_cpp.llama_free(self._context)
        for pool in self._pools:
            pool.free()
        self._context = None
        self._pools = []

    def close(self) -> None:
        """Free context, pools and model, in this order."""
        self.close_context()
        if self._model:
            llama_cpp.llama_model_free(self._model)
        self._model = None


def _backends_in_force(device: str) -> tuple[str, ...]:
    """Name the devices that take part: the CPU and accelerators such as BLAS always, GPUs when requested."""
    kind_of = library("ggml-base").ggml_backend_dev_type
    used = {DEVICE_CPU, DEVICE_ACCEL} | ({DEVICE_GPU, DEVICE_IGPU} if device == "gpu" else set())
    chosen = [each for each in devices() if kind_of(each) in used]
    # GPUs first, as llama.cpp lists them.
    chosen.sort(key=lambda each: kind_of(each) == DEVICE_CPU)
    return tuple(map(device_name, chosen))
