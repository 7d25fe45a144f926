"""What the worker is asked about one model, and what it answers: facts, nothing estimated yet."""

from typing import Any

import msgspec

from profiler.predict.records import GraphWork
from profiler.records.config import RunConfig
from profiler.records.failure import Failure


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One model: a shape or a GGUF file."""

    model: str
    config: dict[str, Any] | None = None  # of a config.json
    path: str | None = None  # of a GGUF file
    levels: str | None  # as typed; None: a GGUF file as it is
    contexts: tuple[RunConfig, ...]  # the cache of the first one counts
    always_imatrix: bool = False  # every level with the types it has with an importance matrix
    with_graphs: bool = False
    scratch: str = ""  # a folder that the parent made and removes: llama.cpp may abort the worker


class LevelSize(msgspec.Struct, frozen=True, kw_only=True):
    """The model at one level, by llama.cpp's dry run."""

    level: str
    needs_imatrix: bool = False
    with_imatrix: bool = False  # the types are those with an importance matrix
    refusal: str | None = None  # why llama.cpp cannot make it; the rest is then 0
    n_params: int = 0
    n_params_active: int | None = None
    tensor_bytes: int = 0
    data_bytes: int = 0  # with the gaps between tensors
    types: dict[str, int] = {}  # ggml type -> number of tensors
    plain_bytes: int = 0  # of the tensors that are not repacked
    mapped_bytes: int = 0  # from the first of these in the file to the end of the last
    repacked_bytes: int = 0
    largest_repacked_bytes: int = 0
    decode_weight_bytes: int = 0  # that one decoded token reads
    n_work_bytes_per_token: int = 0  # of the widest product's input, in the type it is multiplied in
    graphs: tuple[GraphWork, ...] = ()  # of the largest batch and of one token, where speeds are asked about


class ContextSize(msgspec.Struct, frozen=True, kw_only=True):
    """What llama.cpp would allocate for a context."""

    n_outputs_max: int
    compute_bytes: int
    output_bytes: int
    kv_cache_bytes: int
    flash_attn: bool | None


class Sizes(msgspec.Struct, frozen=True, kw_only=True):
    """One model's facts."""

    arch: str
    n_layer: int
    n_vocab: int
    vocabulary: str  # its kind, by the names of quant/convert/tokenizer/synthetic.py
    n_merges: int  # of BPE
    header_bytes: int | None  # of a GGUF file; None for a shape
    weights: str  # "real" | "synthetic"
    standin_for: str | None
    standin_family: str | None
    contexts: tuple[ContextSize, ...]
    n_tokens: int  # of the largest batch that is computed
    touched_bytes: int | None  # what that batch uses of the compute buffer; None: this build does not plan it
    kv_formula_bytes: int | None  # by profiler/analysis/kv_cache.py, to compare with the log
    levels: tuple[LevelSize, ...]
    n_ctx_train: int | None = None


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One of: the facts, an error that the user can fix, how the process ended."""

    sizes: Sizes | None = None
    refusal: str | None = None
    failure: Failure | None = None
