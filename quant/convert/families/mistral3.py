"""Mistral3ForConditionalGeneration and Ministral3ForCausalLM: the text of Mistral Small 3.1, 3.2 and Ministral 3.

Llama's tensors. Ministral 3 also scales queries beyond its original context. The vision part is omitted.
Source: conversion/mistral3.py of the pinned llama.cpp, and load_arch_hparams in its src/models/mistral3.cpp; of YaRN's
two factors of cosines and sines, llama_context's constructor in src/llama-context.cpp assumes that mscale is 1.
"""

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, number, refuse_unless, rope_parameters, with_defaults
from quant.convert.families.llama import write_keys as write_llama_keys
from quant.convert.families.mistral import FAMILY as MISTRAL

_OTHER = "mistral4"  # an architecture of its own, in the same class
_MINISTRAL = {  # transformers' Ministral3Config (5.24), where it differs from MistralConfig
    "head_dim": 128,
    "max_position_embeddings": 262144,
    "rms_norm_eps": 1e-5,
}


def _scales_queries(config: Config) -> bool:
    return config.get("model_type") == "ministral3"


def _adapt(config: Config) -> Config:
    return with_defaults(config, **_MINISTRAL) if _scales_queries(config) else config


def _check(config: Config) -> None:
    if config.get("model_type") == _OTHER:
        raise UserError("config.json has a text model of the type mistral4, which is not supported yet; choose another")
    if _scales_queries(config):
        rope = rope_parameters(config)
        refuse_unless(rope, "rope_type", ("yarn",))
        refuse_unless(rope, "mscale", (None, 1, 1.0))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add llama's keys, and for Ministral 3 how queries are scaled."""
    write_llama_keys(writer, config, file_type)
    if _scales_queries(config):
        rope = rope_parameters(config)
        writer.add_rope_scaling_yarn_log_mul(number(rope, "mscale_all_dim"))
        writer.add_attn_temperature_scale(number(rope, "llama_4_scaling_beta"))


FAMILY = msgspec.structs.replace(
    MISTRAL,
    architectures=("Mistral3ForConditionalGeneration", "Ministral3ForCausalLM"),
    model_types=("mistral3", "ministral3"),
    arch="mistral3",
    adapt=_adapt,
    computed={"hidden_act": (None, "silu")},
    check=_check,
    write_keys=write_keys,
)
