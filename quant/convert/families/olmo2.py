"""Olmo2ForCausalLM: norms behind attention and feed-forward, and over all queries and all keys at once.

Source: conversion/olmo.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, is_tied, need, refuse_unless, with_defaults
from quant.convert.families.decoder import decoder_tensors
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


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


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for."""
    return decoder_tensors(config, norms=("post_attention_layernorm", "post_feedforward_layernorm"), qk_norms="row")


FAMILY = Family(
    architectures=("Olmo2ForCausalLM",),
    model_types=("olmo2",),
    arch="olmo2",
    complete=complete,
    tensors=tensors,
    write_keys=write_common_keys,
)
