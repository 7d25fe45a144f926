"""MiniCPMForCausalLM: MiniCPM 1B and 2B, MiniCPM4. Llama's tensors; embeddings, residuals and logits are scaled.

Source: conversion/minicpm.py of the pinned llama.cpp. The config's defaults are those of the models' own
configuration_minicpm.py; rope_theta is omitted from them, since 10000 is llama.cpp's default.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    ExtraTensors,
    Family,
    head_dim,
    need,
    number,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.longrope import attention_factor, has_factors, old_context, rope_factors
from quant.convert.families.planned import Planned


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    bias = bool(config.get("attention_bias", False))
    return Decoder(qkv_bias=bias, output_bias=bias, interleave=True).tensors(config)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the three scales."""
    write_common_keys(writer, config, file_type, longrope=True)
    writer.add_embedding_scale(float(number(config, "scale_emb")))
    writer.add_residual_scale(number(config, "scale_depth") / need(config, "num_hidden_layers") ** 0.5)
    writer.add_logit_scale(need(config, "hidden_size") / need(config, "dim_model_base"))
    write_stretched_keys(writer, config)


def write_stretched_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the original context and the attention factor, if the context was extended.

    llama.cpp's converter does not: published models have factors although their context was not extended.
    """
    if has_factors(config) and (old := old_context(config)) < need(config, "max_position_embeddings"):
        writer.add_rope_scaling_orig_ctx_len(old)
        writer.add_rope_scaling_attn_factors(attention_factor(config))


def extra_tensors(config: Config) -> ExtraTensors:
    """Return the rope factors."""
    return rope_factors(config, head_dim(config))


FAMILY = Family(
    architectures=("MiniCPMForCausalLM",),
    model_types=("minicpm",),
    arch="minicpm",
    computed={"hidden_act": SILU},
    defaults={  # the models' own config class
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        "scale_emb": 1,
        "scale_depth": 1,
        "dim_model_base": 1,
    },
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
)
