"""GPT2LMHeadModel: GPT-2 and Cerebras-GPT. Learned positions; matrices are transposed, as Conv1D stores them.

GPT-2's first checkpoints name their tensors without "transformer." and contain the causal mask of each layer.
Source: conversion/gpt2.py of the pinned llama.cpp.
"""

from quant.convert.families.base import GELUS, Family, first_of, need, require_whole_heads
from quant.convert.families.gpt import Gpt, write_gpt_keys

FAMILY = Family(
    architectures=("GPT2LMHeadModel",),
    model_types=("gpt2",),
    arch="gpt2",
    computed={
        "activation_function": (None, *GELUS),
        "scale_attn_weights": (None, True),
        "scale_attn_by_inverse_layer_idx": (None, False),
    },
    # The context length is the number of positions, not n_ctx.
    defaults={  # transformers' GPT2Config (4.57), under the names it writes
        "vocab_size": 50257,
        "n_positions": lambda config: first_of(config, "max_position_embeddings", "n_ctx") or 1024,
        "n_embd": lambda config: first_of(config, "hidden_size") or 768,
        "n_layer": lambda config: first_of(config, "num_hidden_layers") or 12,
        "n_head": lambda config: first_of(config, "num_attention_heads") or 12,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
    },
    check=lambda config: require_whole_heads(need(config, "n_embd"), need(config, "n_head")),
    tensors=Gpt(transposed=True).tensors,
    write_keys=write_gpt_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
