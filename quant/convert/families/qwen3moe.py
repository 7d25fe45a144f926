"""Qwen3MoeForCausalLM: Qwen3-30B-A3B and its kind. Qwen3's attention and experts.

Source: conversion/qwen.py and src/models/qwen3moe.cpp of the pinned llama.cpp, which divides the scores of the chosen
experts by their sum.
"""

from quant.convert.families.base import Family
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, Merged
from quant.convert.families.qwen2moe import COMPUTED, write_keys

FAMILY = Family(
    architectures=("Qwen3MoeForCausalLM",),
    model_types=("qwen3_moe",),
    arch="qwen3moe",
    computed={**COMPUTED, "norm_topk_prob": (True,), "attention_bias": (None, False)},
    defaults={  # transformers' Qwen3MoeConfig (4.57), which has none for head_dim
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
        "num_experts": 128,
    },
    sizes={
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 24,
        "num_attention_heads": 32,
    },
    tensors=Decoder(qk_norms="head", feed_forward=Experts(merged=Merged())).tensors,
    write_keys=write_keys,
)
