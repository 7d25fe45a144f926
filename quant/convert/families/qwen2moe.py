"""Qwen2MoeForCausalLM: Qwen1.5-MoE and Qwen2-57B-A14B. Qwen2's attention, experts, and one that computes every token.

Source: conversion/qwen.py and src/models/qwen2moe.cpp of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, Merged
from quant.convert.families.keys import write_common_keys

# Settings of layers without experts among those that have them, and of windows.
COMPUTED = {
    "hidden_act": SILU,
    "decoder_sparse_step": (None, 1),
    "mlp_only_layers": (None, []),
    "use_sliding_window": (None, False),
}


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the widths of an expert and of the shared one, if there is one."""
    write_common_keys(writer, config, file_type)
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    if config.get("shared_expert_intermediate_size") is not None:
        writer.add_expert_shared_feed_forward_length(need(config, "shared_expert_intermediate_size"))


FAMILY = Family(
    architectures=("Qwen2MoeForCausalLM",),
    model_types=("qwen2_moe",),
    arch="qwen2moe",
    computed={
        **COMPUTED,
        "norm_topk_prob": (None, False),
        "qkv_bias": (None, True),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # transformers' Qwen2MoeConfig (4.57)
        "num_key_value_heads": 16,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632,
        "num_experts_per_tok": 4,
        "num_experts": 60,
    },
    sizes={
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    },
    tensors=Decoder(
        qkv_bias=True,
        feed_forward=Experts(merged=Merged(), shared="mlp.shared_expert", shared_gate="shared_expert_gate"),
    ).tensors,
    write_keys=write_keys,
)
