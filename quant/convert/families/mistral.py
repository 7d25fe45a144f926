"""MistralForCausalLM: llama's graph; the sliding window of early members is omitted, as llama.cpp ignores it.

Source: conversion/llama.py of the pinned llama.cpp, which converts both with one class.
"""

import msgspec

from quant.convert.families.decoder import Decoder
from quant.convert.families.llama import FAMILY as LLAMA

FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("MistralForCausalLM",),
    model_types=("mistral",),
    computed={},  # any activation
    defaults={  # transformers' MistralConfig (4.57), which has none for head_dim
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=Decoder(interleave=True).tensors,  # MistralForCausalLM has no biases, whatever the config says
)
