"""GPTBigCodeForCausalLM: SantaCoder, StarCoder, the first Granite code models. GPT-2 with one key for all queries.

Source: conversion/starcoder.py and src/models/starcoder.cpp of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import GELUS, Config, Family, need, require_whole_heads
from quant.convert.families.gpt import Gpt, write_gpt_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add starcoder's keys; llama.cpp's converter takes every inner width for four times the model's."""
    write_gpt_keys(writer, config, file_type, heads_kv=1)


FAMILY = Family(
    architectures=("GPTBigCodeForCausalLM",),
    model_types=("gpt_bigcode",),
    arch="starcoder",
    computed={
        "activation_function": (None, *GELUS),
        "scale_attn_weights": (None, True),
        "multi_query": (None, True),
        "add_cross_attention": (None, False),
    },
    defaults={  # transformers' GPTBigCodeConfig (4.57)
        "vocab_size": 50257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    check=lambda config: require_whole_heads(need(config, "n_embd"), need(config, "n_head")),
    tensors=Gpt(heads_kv=1).tensors,
    write_keys=write_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
