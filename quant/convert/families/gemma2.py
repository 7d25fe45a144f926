"""Gemma2ForCausalLM: four norms a layer, soft-capped logits and scores, a sliding window in every second layer.

llama.cpp derives query_pre_attn_scalar from the shape, which is right for all published models.
Source: conversion/gemma.py of the pinned llama.cpp.
"""

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, head_dim, need, number, refuse_unless
from quant.convert.families.decoder import Decoder
from quant.convert.families.gemma import IGNORED, spaced_vocabulary
from quant.convert.families.gemma import write_keys as write_gemma_keys
from quant.convert.families.keys import write_window_pattern

NORMS = ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm")
# Of transformers' Gemma2Config and Gemma3TextConfig (4.57).
SHARED_DEFAULTS = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "rms_norm_eps": 1e-6,
    "sliding_window": 4096,
    "tie_word_embeddings": True,
}
_CAPS = ("attn_logit_softcapping", "final_logit_softcapping")
_PATTERN = 2
_LAYERS_OF_27B = (46, 62)  # of Gemma 2 and 3; llama.cpp recognizes these models by it


def _refuse_null_caps(config: Config) -> Config:
    for key in _CAPS:
        if config.get(key, 0.0) is None:
            raise UserError(f"config.json has {key} = null; llama.cpp's gemma2 always caps, so it must be a number")
    return config


def check_query_scale(config: Config) -> None:
    """Refuse queries scaled by something else than the size of a head, as llama.cpp does except for 27B."""
    if need(config, "num_hidden_layers") not in _LAYERS_OF_27B:
        refuse_unless(config, "query_pre_attn_scalar", (None, head_dim(config)))


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
    adapt=_refuse_null_caps,
    computed={"hidden_activation": (None, "gelu_pytorch_tanh")},
    defaults={
        "vocab_size": 256000,
        "max_position_embeddings": 8192,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
        **SHARED_DEFAULTS,
    },
    check=check_query_scale,
    tensors=Decoder(norms=NORMS, norm_offset=1.0, head=False).tensors,
    write_keys=write_keys,
    vocabulary=spaced_vocabulary,
    ignored=IGNORED,
)
