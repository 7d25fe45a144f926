"""Qwen3_5ForCausalLM and the text model of Qwen3_5ForConditionalGeneration: the dense members of Qwen3.5.

Three of four layers have linear attention. The vision part and the layers that predict further tokens are omitted.
Source: conversion/qwen.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import SILU, Config, Family, rope_parameters
from quant.convert.families.delta_net import DECODER, check_delta_net, hybrid_tensors, write_delta_net_keys
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned

# Sections of the rotary embedding; of text, all have the same positions.
_SECTIONS = [11, 11, 10, 0]
COMPUTED = {"hidden_act": SILU, "attention_bias": (None, False), "attn_output_gate": (None, True)}
# Of transformers' Qwen3_5TextConfig, Qwen3_5MoeTextConfig and Qwen3NextConfig (5.24).
SHARED_DEFAULTS = {
    "max_position_embeddings": 32768,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "head_dim": 256,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
}
OMITTED = ("mtp.", "model.mtp.", "model.visual.")  # starts of names


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return hybrid_tensors(config, DECODER)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of linear attention."""
    write_common_keys(writer, config, file_type)
    write_delta_net_keys(writer, config)
    write_sections(writer, config)


def write_sections(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the class's sections of the rotary embedding where the config names none; llama.cpp needs them."""
    if "mrope_section" not in rope_parameters(config):
        writer.add_rope_dimension_sections(_SECTIONS)


FAMILY = Family(
    architectures=("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"),
    model_types=("qwen3_5", "qwen3_5_text"),
    arch="qwen35",
    base_prefix="model.",
    computed=COMPUTED,
    defaults={"num_key_value_heads": 4, **SHARED_DEFAULTS},
    sizes={
        "vocab_size": 248320,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
    },
    check=check_delta_net,
    tensors=tensors,
    write_keys=write_keys,
    omitted=OMITTED,
)
