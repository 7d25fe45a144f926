"""GraniteForCausalLM: the dense members of Granite 3 and 4. Llama's tensors, and four scale factors.

Source: conversion/granite.py of the pinned llama.cpp.
"""

import gguf
import msgspec

from quant.convert.families.base import Config, n_heads, number
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.llama import write_keys as write_llama_keys


def _without_head_dim(config: Config) -> Config:
    return {key: value for key, value in config.items() if key != "head_dim"}  # llama.cpp's graph ignores it


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add llama's keys and the four scales."""
    write_llama_keys(writer, config, file_type)
    for key, add in (
        ("attention_multiplier", writer.add_attention_scale),
        ("embedding_multiplier", writer.add_embedding_scale),
        ("residual_multiplier", writer.add_residual_scale),
        ("logits_scaling", writer.add_logit_scale),
    ):
        if value := number(config, key):
            add(value)


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("GraniteForCausalLM",),
    model_types=("granite",),
    arch="granite",
    adapt=_without_head_dim,
    defaults={  # transformers' GraniteConfig (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
    },
    sizes={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    write_keys=write_keys,
)
