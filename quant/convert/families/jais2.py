"""Jais2ForCausalLM: Jais 2 8B. LayerNorms, biases everywhere, squared ReLU without a gate.

Source: conversion/jais.py and src/models/jais2.cpp of the pinned llama.cpp; the config's defaults are those of
transformers' Jais2Config (5.0).
"""

import gguf

from quant.convert.families.base import Config, Family, head_dim, n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_dimension_count(head_dim(config))


FAMILY = Family(
    architectures=("Jais2ForCausalLM",),
    model_types=("jais2",),
    arch="jais2",
    computed={"hidden_act": (None, "relu2"), "attention_bias": (None, True), "mlp_bias": (None, True)},
    defaults={
        "vocab_size": 150272,
        "hidden_size": 3328,
        "intermediate_size": 26624,
        "num_hidden_layers": 32,
        "num_attention_heads": 26,
        "num_key_value_heads": n_heads,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 8192,
        "layer_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    tensors=Decoder(qkv_bias=True, output_bias=True, mlp_bias=True, gated=False, norm_bias=True).tensors,
    write_keys=write_keys,
)
