"""Qwen2ForCausalLM: Qwen1.5, Qwen2 and Qwen2.5. Biases on query, key and value; halves stay as they are (NeoX order).

Source: conversion/qwen.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

from quant.families.base import (
    Config,
    Family,
    Planned,
    decoder_tensors,
    no_extra_tensors,
    no_vocabulary_keys,
    with_defaults,
    write_common_keys,
)


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' Qwen2Config (4.57)."""
    return with_defaults(
        config, num_key_value_heads=32, max_position_embeddings=32768, rms_norm_eps=1e-6, rope_theta=10000.0
    )


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for."""
    return decoder_tensors(config, qkv_bias=True, output_bias=False, mlp_bias=False, permute=False)


FAMILY = Family(
    arch="qwen2",
    complete=complete,
    tensors=tensors,
    write_keys=write_common_keys,
    extra_tensors=no_extra_tensors,
    vocabulary_keys=no_vocabulary_keys,
    space_prefix_key=False,
)
