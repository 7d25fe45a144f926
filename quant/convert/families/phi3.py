"""Phi3ForCausalLM: Phi-3, Phi-3.5, Phi-4 and Phi-4-mini. Query, key and value are one matrix, gate and up another.

The text model of Phi4ForCausalLMV is one too. Models with a long context have two sets of rope factors. Most have a
SentencePiece vocabulary to which tokenizer.json adds tokens; Phi-4 has a byte-level one.
Source: conversion/phi.py of the pinned llama.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    ExtraTensors,
    Family,
    is_tied,
    n_head_kv,
    n_heads,
    need,
    number,
    rope_parameters,
    rotary_dims,
)
from quant.convert.families.keys import write_counts
from quant.convert.families.longrope import attention_factor, has_factors, old_context, rope_factors
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_BYTE_LEVEL_CLASS = "GPT2Tokenizer"


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    heads = need(config, "num_attention_heads")
    n_qkv = n_embd // heads * (heads + 2 * n_head_kv(config))
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        yield Planned(name=f"{block}.self_attn.qkv_proj.weight", shape=(n_qkv, n_embd))
        yield Planned(name=f"{block}.self_attn.o_proj.weight", shape=(n_embd, n_embd))
        yield Planned(name=f"{block}.mlp.gate_up_proj.weight", shape=(2 * n_ff, n_embd))
        yield Planned(name=f"{block}.mlp.down_proj.weight", shape=(n_embd, n_ff))
        yield Planned(name=f"{block}.input_layernorm.weight", shape=(n_embd,))
        yield Planned(name=f"{block}.post_attention_layernorm.weight", shape=(n_embd,))
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def early_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the attention factor, which llama.cpp's converter writes before the other keys.

    Raises:
        UserError: the rope scaling is not known for these models.
    """
    kind = rope_parameters(config).get("rope_type")
    if has_factors(config):
        writer.add_rope_scaling_attn_factors(attention_factor(config))
    elif kind not in (None, "default"):
        raise UserError(f"config.json asks for the rope scaling '{kind}' without its long_factor and short_factor")


def extra_tensors(config: Config) -> ExtraTensors:
    """Return the rope factors."""
    return rope_factors(config, rotary_dims(config, 1.0))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys; a sliding window of zero means none."""
    writer.add_context_length(need(config, "max_position_embeddings"))
    writer.add_rope_scaling_orig_ctx_len(old_context(config))
    write_counts(writer, config, "embedding_length", "feed_forward_length", "block_count", "head_count")
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_rope_dimension_count(rotary_dims(config, 1.0))
    writer.add_rope_freq_base(number(rope_parameters(config), "rope_theta"))
    writer.add_file_type(file_type)
    writer.add_sliding_window(need(config, "sliding_window") if config.get("sliding_window") else 0)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary: SentencePiece with the tokens that tokenizer.json adds, or Phi-4's byte-level one."""
    settings = read_json(folder / "tokenizer_config.json") or {}
    by_tokenizer_json = settings.get("tokenizer_class") != _BYTE_LEVEL_CLASS
    return load_vocabulary(folder, config, pre=pre, added_by_tokenizer_json=by_tokenizer_json)


FAMILY = Family(
    architectures=("Phi3ForCausalLM", "Phi4ForCausalLMV"),
    model_types=("phi3",),
    arch="phi3",
    computed={"hidden_act": SILU},
    defaults={  # transformers' Phi3Config (4.57)
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    tensors=tensors,
    write_keys=write_keys,
    early_keys=early_keys,
    extra_tensors=extra_tensors,
    vocabulary=vocabulary,
    omitted=("model.vision_tower.", "model.mm_projector."),
)
