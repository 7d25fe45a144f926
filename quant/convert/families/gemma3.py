"""Gemma3ForCausalLM and the text model of Gemma3ForConditionalGeneration.

Norms of queries and keys besides Gemma 2's four, no caps on the scores, and most layers with a window and a rotary base
of their own. What it sees with is left out.
Source: conversion/gemma.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, Family, need, number, refuse_unless, with_defaults
from quant.convert.families.decoder import decoder_tensors
from quant.convert.families.gemma import spaced_vocabulary
from quant.convert.families.gemma2 import NORMS, require_own_scale
from quant.convert.families.keys import window_layers, write_common_keys, write_window_pattern
from quant.convert.families.planned import Planned

_PATTERN = 6


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' Gemma3TextConfig (4.57).

    Raises:
        UserError: the config asks for something that llama.cpp's gemma3 does not compute.
    """
    refuse_unless(config, "hidden_activation", (None, "gelu_pytorch_tanh"))
    refuse_unless(config, "attn_logit_softcapping", (None,))
    refuse_unless(config, "use_bidirectional_attention", (None, False))
    config = with_defaults(
        config,
        vocab_size=262208,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        max_position_embeddings=131072,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        rope_local_base_freq=10000.0,
        sliding_window=4096,
        tie_word_embeddings=True,
    )
    require_own_scale(config)
    return config


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for; rows of the embedding beyond the vocabulary are cut off."""
    for planned in decoder_tensors(config, norms=NORMS, qk_norms="head", plus=1.0):
        if planned.name == "model.embed_tokens.weight":
            yield msgspec.structs.replace(planned, cut=True)
        else:
            yield planned


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, a cap on the logits and the window, where there are any."""
    write_common_keys(writer, config, file_type)
    if config.get("final_logit_softcapping"):
        writer.add_final_logit_softcapping(number(config, "final_logit_softcapping"))
    if any(window_layers(config, _PATTERN)):
        writer.add_sliding_window(need(config, "sliding_window"))
        write_window_pattern(writer, config, _PATTERN)


FAMILY = Family(
    architectures=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
    model_types=("gemma3_text", "gemma3"),
    arch="gemma3",
    complete=complete,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=spaced_vocabulary,
)
