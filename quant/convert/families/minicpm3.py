"""MiniCPM3ForCausalLM: MiniCPM3-4B. Low-rank queries, and low-rank keys with values (MLA).

A part of each head is rotated; that part of the keys is shared by all heads.
Source: conversion/minicpm.py of the pinned llama.cpp, whose src/models/minicpm3.cpp has the three scales as constants.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    ExtraTensors,
    Family,
    is_tied,
    n_heads,
    need,
    number,
    refuse_unless,
    rope_parameters,
)
from quant.convert.families.keys import write_counts
from quant.convert.families.longrope import rope_factors
from quant.convert.families.minicpm import write_stretched_keys
from quant.convert.families.planned import Planned

_CONSTANTS = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256}
_ROPE_THETA = 10000.0  # llama.cpp's default


def _refuse_other_constants(config: Config) -> None:
    for key, constant in {**_CONSTANTS, "num_key_value_heads": n_heads(config)}.items():
        refuse_unless(config, key, (constant,))
    refuse_unless(rope_parameters(config), "rope_type", (None, "default", "su", "longrope"))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_ff, n_vocab = need(config, "hidden_size"), need(config, "intermediate_size"), need(config, "vocab_size")
    heads, plain = need(config, "num_attention_heads"), need(config, "qk_nope_head_dim")
    rotated, value = need(config, "qk_rope_head_dim"), need(config, "v_head_dim")
    q_rank, kv_rank = need(config, "q_lora_rank"), need(config, "kv_lora_rank")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        for name, shape in (
            ("self_attn.q_a_proj", (q_rank, n_embd)),
            ("self_attn.q_b_proj", (heads * (plain + rotated), q_rank)),
            ("self_attn.kv_a_proj_with_mqa", (kv_rank + rotated, n_embd)),
            ("self_attn.kv_b_proj", (heads * (plain + value), kv_rank)),
            ("self_attn.o_proj", (n_embd, heads * value)),
            ("mlp.gate_proj", (n_ff, n_embd)),
            ("mlp.up_proj", (n_ff, n_embd)),
            ("mlp.down_proj", (n_embd, n_ff)),
            ("self_attn.q_a_layernorm", (q_rank,)),
            ("self_attn.kv_a_layernorm", (kv_rank,)),
            ("input_layernorm", (n_embd,)),
            ("post_attention_layernorm", (n_embd,)),
        ):
            yield Planned(name=f"{block}.{name}.weight", shape=shape)
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys; those that llama.cpp's converter omits only if they differ from llama.cpp's defaults."""
    heads, value = need(config, "num_attention_heads"), need(config, "v_head_dim")
    writer.add_file_type(file_type)
    write_counts(writer, config, "context_length", "embedding_length", "block_count", "feed_forward_length")
    writer.add_head_count(heads)
    writer.add_head_count_kv(need(config, "num_key_value_heads"))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_q_lora_rank(need(config, "q_lora_rank"))
    writer.add_kv_lora_rank(need(config, "kv_lora_rank"))
    writer.add_key_length(need(config, "qk_nope_head_dim") + need(config, "qk_rope_head_dim"))
    writer.add_rope_dimension_count(need(config, "qk_rope_head_dim"))
    if value != need(config, "hidden_size") // heads:
        writer.add_value_length(value)
    if (theta := number(rope_parameters(config), "rope_theta")) != _ROPE_THETA:
        writer.add_rope_freq_base(theta)
    write_stretched_keys(writer, config)


def extra_tensors(config: Config) -> ExtraTensors:
    """Return the rope factors."""
    return rope_factors(config, need(config, "qk_rope_head_dim"))


FAMILY = Family(
    architectures=("MiniCPM3ForCausalLM",),
    model_types=("minicpm3",),
    arch="minicpm3",
    computed={"hidden_act": SILU},
    defaults={  # the model's own config class
        "num_key_value_heads": n_heads,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "q_lora_rank": 768,
        "kv_lora_rank": 256,
        "v_head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": _ROPE_THETA,
        "tie_word_embeddings": True,
        "scale_emb": 1,
        "scale_depth": 1,
        "dim_model_base": 1,
    },
    check=_refuse_other_constants,
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
)
