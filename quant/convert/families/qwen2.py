"""Qwen2ForCausalLM: Qwen1.5, Qwen2 and Qwen2.5. Biases on query, key and value; rotary halves in NeoX order.

The text model of DotsOCRForCausalLM is one too; its vision part is omitted.
Source: conversion/qwen.py of the pinned llama.cpp.
"""

from quant.convert.families.base import SILU, Family
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys

FAMILY = Family(
    architectures=("Qwen2ForCausalLM", "DotsOCRForCausalLM"),
    model_types=("qwen2", "dots_ocr"),
    arch="qwen2",
    computed={"hidden_act": SILU},
    defaults={  # transformers' Qwen2Config (4.57)
        "num_key_value_heads": 32,
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
    tensors=Decoder(qkv_bias=True).tensors,
    write_keys=write_common_keys,
    omitted=("vision_tower.",),
)
