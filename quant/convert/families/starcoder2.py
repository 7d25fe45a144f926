"""Starcoder2ForCausalLM: StarCoder2 3B to 15B, Granite 20B and 34B code in this form. Biases everywhere, no gate.

llama.cpp's graph ignores the sliding window, so it is omitted, as llama.cpp's converter does.
Source: conversion/starcoder.py of the pinned llama.cpp.
"""

from quant.convert.families.base import GELUS, Family, require_full_width
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys

FAMILY = Family(
    architectures=("Starcoder2ForCausalLM",),
    model_types=("starcoder2",),
    arch="starcoder2",
    computed={"hidden_act": (None, *GELUS), "use_bias": (None, True)},
    defaults={  # transformers' Starcoder2Config (4.57)
        "vocab_size": 49152,
        "hidden_size": 3072,
        "intermediate_size": 12288,
        "num_hidden_layers": 30,
        "num_attention_heads": 24,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "norm_epsilon": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": True,
    },
    check=require_full_width,
    tensors=Decoder(
        qkv_bias=True, output_bias=True, mlp_bias=True, gated=False, mlp_names=("c_fc", "c_proj"), norm_bias=True
    ).tensors,
    write_keys=write_common_keys,
)
