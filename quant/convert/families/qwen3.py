"""Qwen3ForCausalLM: the dense members of Qwen3. Norms of each head's queries and keys in place of Qwen2's biases.

Source: conversion/qwen.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

from quant.convert.families.base import Config, Family, refuse_unless, with_defaults
from quant.convert.families.decoder import decoder_tensors
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' Qwen3Config (4.57).

    Raises:
        UserError: the activation is not SiLU.
    """
    refuse_unless(config, "hidden_act", (None, "silu"))
    return with_defaults(
        config,
        num_key_value_heads=32,
        head_dim=128,
        max_position_embeddings=32768,
        rms_norm_eps=1e-6,
        rope_theta=10000.0,
    )


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for."""
    return decoder_tensors(config, qk_norms="head")


FAMILY = Family(
    architectures=("Qwen3ForCausalLM",),
    model_types=("qwen3",),
    arch="qwen3",
    complete=complete,
    tensors=tensors,
    write_keys=write_common_keys,
)
