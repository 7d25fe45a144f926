"""MixtralForCausalLM: Llama's attention and experts, in GGUF's architecture llama.

Source: conversion/llama.py of the pinned llama.cpp.
"""

import msgspec

from quant.convert.families.base import SILU
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.llama import FAMILY as LLAMA

EXPERTS = Experts(
    n_experts="num_local_experts",
    n_ff="intermediate_size",
    module="block_sparse_moe",
    names=("w1", "w3", "w2"),
    written=("gate", "down", "up"),
)

FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("MixtralForCausalLM",),
    model_types=("mixtral",),
    computed={"hidden_act": SILU, "sliding_window": (None,)},
    defaults={  # transformers' MixtralConfig (4.57), which has none for head_dim
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    sizes={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=Decoder(interleave=True, feed_forward=EXPERTS).tensors,
)
