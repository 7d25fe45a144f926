"""Qwen3_5MoeForCausalLM and the text model of Qwen3_5MoeForConditionalGeneration: Qwen3.5-35B-A3B and its kind.

Qwen3.5's layers with experts, of which one computes every token.
Source: conversion/qwen.py and src/models/qwen35moe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, Family
from quant.convert.families.delta_net import DECODER, check_delta_net, hybrid_tensors, write_delta_net_keys
from quant.convert.families.experts import Experts, Merged
from quant.convert.families.planned import Planned
from quant.convert.families.qwen2moe import write_keys as write_expert_keys
from quant.convert.families.qwen35 import COMPUTED, OMITTED, SHARED_DEFAULTS, write_sections

WITH_EXPERTS = msgspec.structs.replace(
    DECODER,
    feed_forward=Experts(merged=Merged(), shared="mlp.shared_expert", shared_gate="shared_expert_gate"),
)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return hybrid_tensors(config, WITH_EXPERTS)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys of experts and of linear attention."""
    write_expert_keys(writer, config, file_type)
    write_delta_net_keys(writer, config)
    write_sections(writer, config)


FAMILY = Family(
    architectures=("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"),
    model_types=("qwen3_5_moe", "qwen3_5_moe_text"),
    arch="qwen35moe",
    base_prefix="model.",
    computed=COMPUTED,
    defaults={
        "num_key_value_heads": 2,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 8,
        "num_experts": 256,
        **SHARED_DEFAULTS,
    },
    sizes={"vocab_size": 248320, "hidden_size": 2048, "num_hidden_layers": 40, "num_attention_heads": 16},
    check=check_delta_net,
    tensors=tensors,
    write_keys=write_keys,
    omitted=OMITTED,
)
