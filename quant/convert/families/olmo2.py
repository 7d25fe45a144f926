"""Olmo2ForCausalLM: norms after attention and feed-forward, and of all queries and all keys together.

Source: conversion/olmo.py of the pinned llama.cpp.
"""

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, is_tied, need, refuse_unless, with_defaults
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' Olmo2Config (4.57).

    Raises:
        UserError: the output matrix is tied, which llama.cpp's olmo2 cannot load, or the activation is not SiLU.
    """
    if is_tied(config):
        raise UserError("config.json ties the embeddings, but llama.cpp's olmo2 needs an output matrix of its own")
    refuse_unless(config, "hidden_act", (None, "silu"))
    return with_defaults(
        config,
        num_key_value_heads=need(config, "num_attention_heads"),
        max_position_embeddings=2048,
        rms_norm_eps=1e-5,
        rope_theta=10000.0,
    )


FAMILY = Family(
    architectures=("Olmo2ForCausalLM",),
    model_types=("olmo2",),
    arch="olmo2",
    complete=complete,
    tensors=Decoder(norms=("post_attention_layernorm", "post_feedforward_layernorm"), qk_norms="row").tensors,
    write_keys=write_common_keys,
)
