"""Checkpoints in the real format, made on the spot with the safetensors library; random weights, trained tokenizers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import TensorSpec, serialize_file

from quant.convert.families import complete_config, find_family, planned_tensors
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
_MODEL_TYPES = {"LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen2ForCausalLM": "qwen2"}


def decoder_config(
    architecture: str = "LlamaForCausalLM",
    model_type: str = "llama",
    *,
    hidden: int = 64,
    layers: int = 2,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int | None = None,
    ffn: int = 128,
    vocab: int = 512,
    context: int = 512,
    rope_theta: float = 10000.0,
    epsilon: float = 1e-5,
    tie: bool = True,
    rope_scaling: dict[str, Any] | None = None,
    tokenizer: str = "bpe",
) -> dict[str, Any]:
    """Give the config.json of a small llama-like model."""
    config: dict[str, Any] = {
        "architectures": [architecture],
        "model_type": model_type,
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": vocab,
        "max_position_embeddings": context,
        "rope_theta": rope_theta,
        "rms_norm_eps": epsilon,
        "hidden_act": "silu",
        "tie_word_embeddings": tie,
        "bos_token_id": 1 if tokenizer == "spm" else vocab - 4,
        "eos_token_id": 2 if tokenizer == "spm" else vocab - 3,
    }
    if head_dim is not None:
        config["head_dim"] = head_dim
    if rope_scaling is not None:
        config["rope_scaling"] = rope_scaling
    return config


def as_transformers5(config: dict[str, Any]) -> dict[str, Any]:
    """Give the same config as transformers 5 writes it, where all layers have one rotary embedding."""
    kept = {key: value for key, value in config.items() if key not in ("rope_theta", "rope_scaling")}
    rope = {"rope_type": "default", "rope_theta": config["rope_theta"], **config.get("rope_scaling", {})}
    return kept | {"rope_parameters": rope, "dtype": "bfloat16"}


def make_checkpoint(
    folder: Path,
    *,
    architecture: str = "LlamaForCausalLM",
    dtype: str = "bfloat16",
    shards: int = 1,
    tokenizer: str = "bpe",
    style: str = "gpt-2",
    seed: int = 0,
    **shape: Any,
) -> Path:
    """Write a small llama-like checkpoint, and give the folder; `shape` is of `decoder_config`."""
    config = decoder_config(architecture, _MODEL_TYPES[architecture], tokenizer=tokenizer, **shape)
    if architecture == "MistralForCausalLM":
        config["sliding_window"] = None
    return write_checkpoint(folder, config, dtype=dtype, shards=shards, tokenizer=tokenizer, style=style, seed=seed)


def write_checkpoint(
    folder: Path,
    config: dict[str, Any],
    *,
    dtype: str = "bfloat16",
    shards: int = 1,
    tokenizer: str = "bpe",
    style: str = "gpt-2",
    seed: int = 0,
    prefix: str = "",
    more_tensors: dict[str, tuple[int, ...]] | None = None,
    bare: bool = False,
) -> Path:
    """Write config.json, weights and tokenizer files of any family's model, and give the folder.

    Args:
        tokenizer: "bpe", "spm", the name of a writer in tests/support/vocabularies.py, or "none".
        prefix: stands before the tensors' names, as in a model whose text model is a part.
        more_tensors: stand behind the family's own, or instead of those of the same name.
        bare: leave the family's own prefix out of the tensors' names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    n_vocab = config.get("text_config", config).get("vocab_size", 512)
    if tokenizer == "bpe":
        write_bpe_tokenizer(folder, vocab_size=n_vocab, style=style)
    elif tokenizer == "spm":
        write_sentencepiece_tokenizer(folder, vocab_size=n_vocab)
    elif tokenizer != "none":
        getattr(vocabularies, tokenizer)(folder, vocab_size=n_vocab)
    (folder / "config.json").write_text(json.dumps(config | {"torch_dtype": dtype}))
    _write_weights(folder, config, dtype, shards, seed, prefix, more_tensors or {}, bare=bare)
    return folder


def _write_weights(
    folder: Path,
    config: dict[str, Any],
    dtype: str,
    shards: int,
    seed: int,
    prefix: str,
    more_tensors: dict[str, tuple[int, ...]],
    *,
    bare: bool,
) -> None:
    source = np.random.default_rng(seed)
    family = find_family(config["architectures"][0])
    planned = [each for each in planned_tensors(family, complete_config(family, config)) if not each.optional]
    left_out = family.base_prefix if bare else ""
    made = {
        prefix + name.removeprefix(left_out): (shape, each) for each in planned for name, shape in each.source_tensors()
    }
    made |= {name: (shape, Planned(name=name, shape=shape)) for name, shape in more_tensors.items()}
    per_shard = -(-len(made) // shards)
    weight_map, total = {}, 0
    for shard in range(shards):
        name = "model.safetensors" if shards == 1 else f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        tensors, kept = {}, []
        for tensor, (shape, each) in list(made.items())[shard * per_shard : (shard + 1) * per_shard]:
            values = source.standard_normal(shape, dtype=np.float32) * np.float32(0.05)
            if each.is_norm and not each.plus:
                values += 1
            stored = _stored(values, dtype)
            kept.append(stored)
            total += stored.nbytes
            tensors[tensor] = TensorSpec(
                dtype=dtype, shape=list(shape), data_ptr=stored.ctypes.data, data_len=stored.nbytes
            )
            weight_map[tensor] = name
        serialize_file(tensors, str(folder / name), {"format": "pt"})
    if shards > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _stored(values: np.ndarray, dtype: str) -> np.ndarray:
    if dtype == "bfloat16":
        return np.ascontiguousarray((values.view(np.uint32) >> 16).astype(np.uint16))
    return np.ascontiguousarray(values.astype(dtype))
