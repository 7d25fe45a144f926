"""OlmoForCausalLM: OLMo 1, norms without weights; queries, keys and values may be clipped.

Source: conversion/olmo.py of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, n_heads, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys

_EPSILON = 1e-5  # in transformers' OlmoLayerNorm


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the norms' epsilon and the bound of queries, keys and values."""
    write_common_keys(writer, config, file_type)
    writer.add_layer_norm_eps(_EPSILON)
    if config.get("clip_qkv") is not None:
        writer.add_clamp_kqv(number(config, "clip_qkv"))


FAMILY = Family(
    architectures=("OlmoForCausalLM",),
    model_types=("olmo",),
    arch="olmo",
    computed={"hidden_act": SILU},
    defaults={  # transformers' OlmoConfig (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 50304,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=Decoder(interleave=True, norms=(), final_norm=False).tensors,
    write_keys=write_keys,
)
