"""Olmo2ForCausalLM: norms after attention and feed-forward, and of all queries and all keys together.

Source: conversion/olmo.py of the pinned llama.cpp.
"""

from quant.convert.families.base import SILU, Config, Family, n_heads, require_full_width, require_own_output
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys


def _check(config: Config) -> None:
    require_own_output(config)
    require_full_width(config)


FAMILY = Family(
    architectures=("Olmo2ForCausalLM",),
    model_types=("olmo2",),
    arch="olmo2",
    computed={"hidden_act": SILU},
    defaults={  # transformers' Olmo2Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 50304,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    check=_check,
    tensors=Decoder(norms=("post_attention_layernorm", "post_feedforward_layernorm"), qk_norms="row").tensors,
    write_keys=write_common_keys,
)
