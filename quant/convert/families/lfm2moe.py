"""Lfm2MoeForCausalLM: LFM2 with experts behind the first layers.

Source: conversion/lfm2.py and src/models/lfm2moe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, need
from quant.convert.families.experts import Experts
from quant.convert.families.keys import write_common_keys
from quant.convert.families.lfm2 import FAMILY as LFM2
from quant.convert.families.lfm2 import around, feed_forward, mixer, write_head_counts
from quant.convert.families.planned import Planned

_EXPERTS = Experts(
    module="feed_forward",
    score_bias="expert_bias",
    names=("w1", "w3", "w2"),
    written=("gate", "down", "up"),
)


def _n_dense(config: Config) -> int:
    return need(config, "num_dense_layers") if config["num_dense_layers"] != 0 else 0


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from around(config)
    n_dense = _n_dense(config)
    for layer in range(need(config, "num_hidden_layers")):
        yield from mixer(config, layer)
        if layer < n_dense:
            block = f"model.layers.{layer}.feed_forward"
            yield from feed_forward(block, need(config, "hidden_size"), need(config, "intermediate_size"))
        else:
            yield from _EXPERTS(config, layer)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, those of the experts and those of the convolutions."""
    write_common_keys(writer, config, file_type)
    write_head_counts(writer, config)
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_leading_dense_block_count(_n_dense(config))
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_shortconv_l_cache(need(config, "conv_L_cache"))


FAMILY = msgspec.structs.replace(
    LFM2,
    architectures=("Lfm2MoeForCausalLM",),
    model_types=("lfm2_moe",),
    arch="lfm2moe",
    computed={
        **LFM2.computed,
        "use_expert_bias": (None, True),
        "norm_topk_prob": (None, True),
        "routed_scaling_factor": (None, 1.0),
    },
    defaults={  # transformers' Lfm2MoeConfig (5)
        "num_key_value_heads": 8,
        "max_position_embeddings": 128000,
        "norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "conv_L_cache": 3,
        "intermediate_size": 7168,
        "moe_intermediate_size": 1792,
        "num_dense_layers": 2,
        "num_experts": 32,
        "num_experts_per_tok": 4,
    },
    sizes={
        "vocab_size": 65536,
        "hidden_size": 2048,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=tensors,
    write_keys=write_keys,
)
