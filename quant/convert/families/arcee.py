"""ArceeForCausalLM: AFM. Llama's attention; a feed-forward part without a gate, whose activation is a squared ReLU.

Source: conversion/llama.py of the pinned llama.cpp; load_arch_tensors in its src/models/arcee.cpp loads no bias of the
attention's output, nor any of the feed-forward part.
"""

import msgspec

from quant.convert.families.base import n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.llama import FAMILY as LLAMA

FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("ArceeForCausalLM",),
    model_types=("arcee",),
    arch="arcee",
    computed={
        "hidden_act": (None, "relu2"),
        "attention_bias": (None, False),
        "mlp_bias": (None, False),
    },
    defaults={  # transformers' ArceeConfig (4.57)
        "num_key_value_heads": n_heads,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 32000,
        "hidden_size": 2560,
        "intermediate_size": 18432,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=Decoder(interleave=True, gated=False).tensors,
)
