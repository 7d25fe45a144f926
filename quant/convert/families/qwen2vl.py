"""Qwen2VLForConditionalGeneration and Qwen2_5_VLForConditionalGeneration: the text model, a Qwen2.

Sections of the rotary embedding follow time, height and width of an image; text has one position in all. Qwen2.5-Omni's
is one too. What sees, hears and talks is omitted. Source: conversion/qwenvl.py of the pinned llama.cpp.
"""

import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, rope_parameters
from quant.convert.families.qwen2 import FAMILY as QWEN2

VISION = ("visual.", "model.visual.")
_OMNI = ("audio_tower.", "thinker.visual.", "thinker.audio_tower.", "talker.", "token2wav.")


def require_sections(config: Config) -> None:
    """Refuse a config without the sections, which llama.cpp requires.

    Raises:
        UserError: it has none.
    """
    if "mrope_section" not in rope_parameters(config):
        raise UserError("config.json lacks mrope_section in its rope settings, which llama.cpp needs for this family")


FAMILY = msgspec.structs.replace(
    QWEN2,
    architectures=("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration", "Qwen2_5OmniModel"),
    model_types=("qwen2_vl", "qwen2_5_vl", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni", "qwen2_5_omni_text"),
    arch="qwen2vl",
    defaults={  # transformers' Qwen2VLTextConfig and Qwen2_5_VLTextConfig (4.57)
        "num_key_value_heads": 8,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
    },
    sizes={
        "vocab_size": 152064,
        "hidden_size": 8192,
        "intermediate_size": 29568,
        "num_hidden_layers": 80,
        "num_attention_heads": 64,
    },
    check=require_sections,
    omitted=(*VISION, *_OMNI),
)
