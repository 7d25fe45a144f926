"""MistralForCausalLM: llama's graph; llama.cpp ignores the sliding window of its early members, and so does the file.

Source: conversion/llama.py of the pinned llama.cpp, which converts both with one class.
"""

from collections.abc import Iterator

import msgspec

from quant.convert.families.base import Config, with_defaults
from quant.convert.families.decoder import decoder_tensors
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.planned import Planned


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' MistralConfig (4.57), which leaves head_dim open."""
    return with_defaults(
        config, num_key_value_heads=8, max_position_embeddings=131072, rms_norm_eps=1e-6, rope_theta=10000.0
    )


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for; its class has no biases whatever the config says."""
    return decoder_tensors(config, interleave=True)


FAMILY = msgspec.structs.replace(
    LLAMA, architectures=("MistralForCausalLM",), model_types=("mistral",), complete=complete, tensors=tensors
)
