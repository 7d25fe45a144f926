"""Gemma2ForCausalLM: four norms a layer, logits and attention scores capped softly, every second layer with a window.

llama.cpp works query_pre_attn_scalar out of the shape, as it is for all published members, and so does the file.
Source: conversion/gemma.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, head_dim, need, number, refuse_unless, with_defaults
from quant.convert.families.decoder import decoder_tensors
from quant.convert.families.gemma import IGNORED, spaced_vocabulary
from quant.convert.families.gemma import write_keys as write_gemma_keys
from quant.convert.families.keys import write_window_pattern
from quant.convert.families.planned import Planned

NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_PATTERN = 2
_LAYERS_OF_27B = (46, 62)  # of Gemma 2 and 3, by which llama.cpp tells these models


def complete(config: Config) -> Config:
    """Fill in the defaults of transformers' Gemma2Config (4.57).

    Raises:
        UserError: a cap is null, which means none: llama.cpp always has both; or the activation is no GELU.
    """
    for key in _CAPS:
        if config.get(key, 0.0) is None:
            raise UserError(f"config.json has {key} = null; llama.cpp's gemma2 always caps, so it must be a number")
    refuse_unless(config, "hidden_activation", (None, "gelu_pytorch_tanh"))
    config = with_defaults(
        config,
        vocab_size=256000,
        hidden_size=2304,
        intermediate_size=9216,
        num_hidden_layers=26,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=256,
        max_position_embeddings=8192,
        rms_norm_eps=1e-6,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        sliding_window=4096,
        tie_word_embeddings=True,
    )
    require_own_scale(config)
    return config


def require_own_scale(config: Config) -> None:
    """Refuse queries that are scaled by other than their heads' size, which llama.cpp takes but for the 27B models.

    Raises:
        UserError: the config asks for another scale.
    """
    if need(config, "num_hidden_layers") not in _LAYERS_OF_27B:
        refuse_unless(config, "query_pre_attn_scalar", (None, head_dim(config)))


def tensors(config: Config) -> Iterator[Planned]:
    """Give the tensors that a config asks for."""
    return decoder_tensors(config, norms=NORMS, plus=1.0, head=False)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Gemma's keys, the caps and the window."""
    write_gemma_keys(writer, config, file_type)
    writer.add_attn_logit_softcapping(number(config, "attn_logit_softcapping"))
    writer.add_final_logit_softcapping(number(config, "final_logit_softcapping"))
    writer.add_sliding_window(need(config, "sliding_window"))
    write_window_pattern(writer, config, _PATTERN)


FAMILY = Family(
    architectures=("Gemma2ForCausalLM",),
    model_types=("gemma2",),
    arch="gemma2",
    complete=complete,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=spaced_vocabulary,
    ignored=IGNORED,
)
