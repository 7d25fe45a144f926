"""Gemma3ForCausalLM and the text model of Gemma3ForConditionalGeneration.

Gemma 2's four norms and norms of queries and keys, no caps on the scores, and in most layers a sliding window with its
own rotary base. The vision part is omitted.
Source: conversion/gemma.py of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import Config, Family, need, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.gemma import spaced_vocabulary
from quant.convert.families.gemma2 import NORMS, SHARED_DEFAULTS, check_query_scale
from quant.convert.families.keys import window_layers, write_common_keys, write_window_pattern

_PATTERN = 6


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, and if present the cap on the logits and the window."""
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
    computed={
        "hidden_activation": (None, "gelu_pytorch_tanh"),
        "attn_logit_softcapping": (None,),
        "use_bidirectional_attention": (None, False),
    },
    defaults={
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "rope_theta": 1000000.0,
        "rope_local_base_freq": 10000.0,
        **SHARED_DEFAULTS,
    },
    check=check_query_scale,
    tensors=Decoder(norms=NORMS, qk_norms="head", norm_offset=1.0, spare_rows=True).tensors,
    write_keys=write_keys,
    vocabulary=spaced_vocabulary,
)
