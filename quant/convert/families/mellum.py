"""MellumForCausalLM: Mellum 2. Qwen3's attention with a window in some layers, and experts.

Source: conversion/mellum.py and src/models/mellum.cpp of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.keys import window_layers, write_common_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the width of an expert and the layers with a window."""
    write_common_keys(writer, config, file_type)
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    if config.get("use_sliding_window") is not False and config.get("sliding_window") is not None:
        writer.add_sliding_window(need(config, "sliding_window"))
        writer.add_sliding_window_pattern(window_layers(config, 1))


def _all_full(config: Config) -> list[str]:
    return ["full_attention"] * need(config, "num_hidden_layers")


FAMILY = Family(
    architectures=("MellumForCausalLM",),
    model_types=("mellum",),
    arch="mellum",
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "norm_topk_prob": (None, True),
        "mlp_only_layers": (None, []),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # transformers' MellumConfig (5.24)
        "num_key_value_heads": 4,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "sliding_window": 1024,
        "moe_intermediate_size": 896,
        "num_experts": 64,
        "num_experts_per_tok": 8,
        "layer_types": _all_full,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    },
    sizes={
        "vocab_size": 98304,
        "hidden_size": 2304,
        "intermediate_size": 7168,
        "num_hidden_layers": 28,
        "num_attention_heads": 32,
    },
    tensors=Decoder(qk_norms="head", feed_forward=Experts()).tensors,
    write_keys=write_keys,
    extra_layers="num_nextn_predict_layers",
)
