"""Qwen3NextForCausalLM: Qwen3-Next-80B-A3B and smaller models of its class.

The layers of Qwen3.5 with experts, whose linear attention is stored group by group.
Source: conversion/qwen.py and src/models/qwen3next.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family
from quant.convert.families.delta_net import KINDS, check_delta_net, hybrid_tensors, linear_layers, write_delta_net_keys
from quant.convert.families.planned import Planned
from quant.convert.families.qwen2moe import write_keys as write_expert_keys
from quant.convert.families.qwen35 import COMPUTED, OMITTED, SHARED_DEFAULTS
from quant.convert.families.qwen35moe import WITH_EXPERTS


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return hybrid_tensors(config, WITH_EXPERTS, by_group=True)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys of experts and of linear attention."""
    write_expert_keys(writer, config, file_type)
    write_delta_net_keys(writer, config)


def _kinds(config: Config) -> list[str]:
    return [KINDS[0] if linear else KINDS[1] for linear in linear_layers(config)]


FAMILY = Family(
    architectures=("Qwen3NextForCausalLM",),
    model_types=("qwen3_next",),
    arch="qwen3next",
    computed={
        **COMPUTED,
        "decoder_sparse_step": (None, 1),
        "mlp_only_layers": (None, []),
        "norm_topk_prob": (None, True),
    },
    defaults={  # transformers' Qwen3NextConfig (4.57)
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "moe_intermediate_size": 512,
        "shared_expert_intermediate_size": 512,
        "num_experts_per_tok": 10,
        "num_experts": 512,
        **SHARED_DEFAULTS,
        "layer_types": _kinds,
    },
    check=check_delta_net,
    tensors=tensors,
    write_keys=write_keys,
    omitted=OMITTED,
)
