"""MellumForCausalLM: Mellum 2. Qwen3's attention with a window in some layers, and experts.

Source: conversion/mellum.py and src/models/mellum.cpp of the pinned llama.cpp, which rotates both kinds of layers by
the base of those without a window, and scales only these.
"""

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, need, rope_parameters
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.keys import window_layers, write_common_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the width of an expert and the layers with a window."""
    write_common_keys(writer, config, file_type)
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    # llama.cpp ends where there is a window and no layer has it, though its converter adds the window.
    if config.get("use_sliding_window") is not False and any(layers := window_layers(config, 1)):
        writer.add_sliding_window(need(config, "sliding_window"))
        writer.add_sliding_window_pattern(layers)


def _check(config: Config) -> None:
    kinds = config.get("mlp_layer_types")
    if kinds is not None and kinds != ["sparse"] * need(config, "num_hidden_layers"):
        raise UserError("config.json has mlp_layer_types with dense layers, and in llama.cpp's mellum all have experts")
    if not any(window_layers(config, 1)):
        return
    rope = rope_parameters(config)
    local, usual = (rope.get(f"{kind}_attention", {}) for kind in ("sliding", "full"))
    if local.get("rope_type") not in (None, "default") or local.get("rope_theta") != usual.get("rope_theta"):
        raise UserError(
            "config.json has rope settings for layers with a window that llama.cpp does not compute for this family "
            "(it does: the same rope_theta as the others', without scaling); choose another model"
        )


def _all_full(config: Config) -> list[str]:
    return ["full_attention"] * need(config, "num_hidden_layers")


FAMILY = Family(
    architectures=("MellumForCausalLM",),
    model_types=("mellum",),
    arch="mellum",
    named_as="qwen3moe",
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
    check=_check,
    tensors=Decoder(qk_norms="head", feed_forward=Experts()).tensors,
    write_keys=write_keys,
    omitted=("mtp.",),
)
