"""Checkpoints in the real format, made on the spot with the safetensors library; random weights, trained tokenizers."""

import json
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import TensorSpec, serialize_file

from quant.convert.families import complete_config, family_of, find_family, planned_tensors
from quant.convert.families.planned import Planned
from tests.support import vocabularies
from tests.support.vocabularies import write_bpe_tokenizer, write_sentencepiece_tokenizer

# The trained one that is kept in the repository; tests/training/tiny.py made it.
TRAINED = Path(__file__).parents[1] / "data" / "tiny-llama"
SMOLLM2_135M: dict[str, Any] = {
    "hidden": 576,
    "layers": 30,
    "heads": 9,
    "kv_heads": 3,
    "ffn": 1536,
    "vocab": 49152,
    "context": 8192,
    "rope_theta": 100000.0,
    "style": "smollm",
}
QWEN2_05B: dict[str, Any] = {
    "architecture": "Qwen2ForCausalLM",
    "hidden": 896,
    "layers": 24,
    "heads": 14,
    "kv_heads": 2,
    "ffn": 4864,
    "vocab": 151936,
    "context": 131072,
    "rope_theta": 1000000.0,
    "epsilon": 1e-6,
    "style": "qwen2",
}
_BLOCK = 1 << 18
_FACTOR = "layer_output_scale.weight"  # of a layer's output
_QK_NORMS = ("attn_q_norm.weight", "attn_k_norm.weight")
_MODEL_TYPES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen2ForCausalLM": "qwen2"}


def n_params_of(architecture: str, config: dict[str, Any]) -> int:
    """Count the unique parameters of a shape: a tied output matrix counts once."""
    family = find_family(architecture)
    return sum(each.n_elements for each in family.tensors(complete_config(family, config)) if not each.optional)


def n_params_active_of(architecture: str, config: dict[str, Any]) -> int:
    """Count those that one token uses: all but those of experts that are not chosen."""
    family = find_family(architecture)
    complete = complete_config(family, config)
    n_used = next(complete[key] for key in ("num_experts_per_tok", "moe_num_active_primary_experts") if key in complete)
    return sum(
        each.n_elements // each.shape[0] * n_used if "_exps." in each.target else each.n_elements
        for each in planned_tensors(family, complete)
        if not each.optional
    )


@dataclass(frozen=True)
class Shape:
    """The shape of a small llama-like model; `tokenizer` decides which ids are special."""

    hidden: int = 64
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_dim: int | None = None
    ffn: int = 128
    vocab: int = 512
    context: int = 512
    rope_theta: float = 10000.0
    epsilon: float = 1e-5
    tie: bool = True
    rope_scaling: dict[str, Any] | None = None
    tokenizer: str = "bpe"


@dataclass(frozen=True)
class Form:
    """How a checkpoint's weights and tokenizer are written.

    Attributes:
        tokenizer: "bpe", "spm", the name of a writer in tests/support/vocabularies.py, or "none".
        style: llama.cpp's name of a BPE's pre-tokenizer.
        prefix: comes before the tensors' names, as in a model whose text model is a part.
        more_tensors: added to the family's own; they replace those of the same name.
        bare: omit the family's own prefix from the tensors' names.
        merged: write the matrices of all experts as one tensor, in families that read both.
        qk_norm: the mean of the weights of the norms of queries and keys. Where scores are not scaled, trained ones
            are small; with 1 each layer triples any difference, float32's from float64 too.
    """

    dtype: str = "bfloat16"
    shards: int = 1
    tokenizer: str = "bpe"
    style: str = "gpt-2"
    seed: int = 0
    prefix: str = ""
    more_tensors: dict[str, tuple[int, ...]] | None = None
    bare: bool = False
    merged: bool = False
    qk_norm: float = 1.0


def decoder_config(architecture: str = "LlamaForCausalLM", model_type: str = "llama", **changes: Any) -> dict[str, Any]:
    """Return the config.json of a small llama-like model; `changes` are fields of `Shape`."""
    shape = Shape(**changes)
    spm = shape.tokenizer == "spm"
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocab,
        "max_position_embeddings": shape.context,
        "rope_theta": shape.rope_theta,
        "rms_norm_eps": shape.epsilon,
        "hidden_act": "silu",
        "tie_word_embeddings": shape.tie,
        "bos_token_id": 1 if spm else shape.vocab - 4,
        "eos_token_id": 2 if spm else shape.vocab - 3,
    }
    if shape.head_dim is not None:
        config["head_dim"] = shape.head_dim
    if shape.rope_scaling is not None:
        config["rope_scaling"] = shape.rope_scaling
    return config


def as_transformers5(config: dict[str, Any]) -> dict[str, Any]:
    """Return the same config as transformers 5 writes it, where all layers have one rotary embedding."""
    kept = {key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")}
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"], **config.get("rope_scaling", {})}
    return kept | {"rope_parameters": rope, "dtype": "bfloat16"}


def make_checkpoint(folder: Path, *, architecture: str = "LlamaForCausalLM", **changes: Any) -> Path:
    """Write a small llama-like checkpoint and return its folder; `changes` are fields of `Shape` and `Form`."""
    form = {field.name: changes[field.name] for field in fields(Form) if field.name in changes}
    shape = {name: value for name, value in changes.items() if name == "tokenizer" or name not in form}
    config = decoder_config(architecture, _MODEL_TYPES[architecture], **shape)
    if architecture == "MistralForCausalLM":
        config["sliding_window"] = None
    return write_checkpoint(folder, config, **form)


def write_checkpoint(folder: Path, config: dict[str, Any], **changes: Any) -> Path:
    """Write config.json, weights and tokenizer of any family's model; return the folder. `changes` are of `Form`."""
    form = Form(**changes)
    folder.mkdir(parents=True, exist_ok=True)
    n_vocab = config.get("text_config", config).get("vocab_size", 512)
    if form.tokenizer == "bpe":
        write_bpe_tokenizer(folder, vocab_size=n_vocab, style=form.style)
    elif form.tokenizer == "spm":
        write_sentencepiece_tokenizer(folder, vocab_size=n_vocab)
    elif form.tokenizer != "none":
        getattr(vocabularies, form.tokenizer)(folder, vocab_size=n_vocab)
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": form.dtype}))
    _write_weights(folder, config, form)
    return folder


def _write_weights(folder: Path, config: dict[str, Any], form: Form) -> None:
    source = np.random.default_rng(form.seed)
    tensors = list(_tensors(config, form).items())
    per_shard = -(-len(tensors) // form.shards)
    weight_map, total = {}, 0
    for shard in range(form.shards):
        name = "model.safetensors" if form.shards == 1 else f"model-{shard + 1:05}-of-{form.shards:05}.safetensors"
        specs, kept = {}, []
        for tensor, (shape, planned) in tensors[shard * per_shard : (shard + 1) * per_shard]:
            stored = _drawn(source, shape, planned, form)
            kept.append(stored)  # the spec holds only its address
            total += stored.nbytes
            specs[tensor] = TensorSpec(
                dtype=form.dtype, shape=list(shape), data_ptr=stored.ctypes.data, data_len=stored.nbytes
            )
            weight_map[tensor] = name
        serialize_file(specs, str(folder / name), {"format": "pt"})
    if form.shards > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _tensors(config: dict[str, Any], form: Form) -> dict[str, tuple[tuple[int, ...], Planned]]:
    """Return every tensor's shape by its name in the checkpoint."""
    family = family_of(config)
    omitted = family.base_prefix if form.bare else ""
    return {
        form.prefix + name.removeprefix(omitted): (shape, planned)
        for each in planned_tensors(family, complete_config(family, config))
        for planned in [(each.merged or each) if form.merged else each]
        if not planned.optional
        for name, shape in planned.source_tensors()
    } | {name: (shape, Planned(name=name, shape=shape)) for name, shape in (form.more_tensors or {}).items()}


def _drawn(source: np.random.Generator, shape: tuple[int, ...], planned: Planned, form: Form) -> np.ndarray:
    """Draw a tensor as it is stored; a large one repeats a block: drawing half a billion values takes ten seconds."""
    values = source.standard_normal(min(math.prod(shape), _BLOCK), dtype=np.float32) * np.float32(0.05)
    target = str(planned.target)
    if (planned.is_norm and not planned.offset) or target.endswith(_FACTOR):
        values += form.qk_norm if target.endswith(_QK_NORMS) else 1
    return np.resize(_stored(values, form.dtype), shape)


def _stored(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return np.ascontiguousarray((values.view(np.uint32) >> 16).astype(np.uint16))
    return np.ascontiguousarray(values.astype(dtype))
