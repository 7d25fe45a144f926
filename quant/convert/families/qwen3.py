"""Qwen3ForCausalLM: the dense members of Qwen3. Norms of each head's queries and keys instead of Qwen2's biases.

The text model of StepVLForConditionalGeneration (Step3-VL) is one too.
Source: conversion/qwen.py of the pinned llama.cpp.
"""

from quant.convert.families.base import SILU, Family
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys

FAMILY = Family(
    architectures=("Qwen3ForCausalLM", "StepVLForConditionalGeneration"),
    model_types=("qwen3",),
    arch="qwen3",
    computed={"hidden_act": SILU},
    defaults={  # transformers' Qwen3Config (4.57)
        "num_key_value_heads": 32,
        "head_dim": 128,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=Decoder(qk_norms="head").tensors,
    write_keys=write_common_keys,
    omitted=("vision_model.", "vit_large_projector."),
)
