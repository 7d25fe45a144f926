"""MistralForCausalLM: llama's graph; llama.cpp ignores the sliding window of its early members, and so does the file.

Source: conversion/llama.py of the pinned llama.cpp, which converts both with one class.
"""

import msgspec

from quant.families.base import Config, with_defaults
from quant.families.llama import FAMILY as LLAMA


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' MistralConfig (4.57), which leaves head_dim open."""
    return with_defaults(
        config, num_key_value_heads=8, max_position_embeddings=131072, rms_norm_eps=1e-6, rope_theta=10000.0
    )


FAMILY = msgspec.structs.replace(LLAMA, complete=complete)
