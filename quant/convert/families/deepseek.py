"""DeepseekForCausalLM: DeepSeekMoE 16B. Llama's attention, many small experts, and two that compute every token.

Source: conversion/deepseek.py and src/models/deepseek.cpp of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, after_dense, shared_by_count
from quant.convert.families.keys import write_common_keys

EXPERTS = Experts(
    n_experts="n_routed_experts",
    shared="mlp.shared_experts",
    n_ff_shared=shared_by_count("n_shared_experts"),
    is_dense=after_dense("first_k_dense_replace"),
)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts; a chosen expert's score is not changed."""
    write_common_keys(writer, config, file_type)
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    writer.add_leading_dense_block_count(int(config["first_k_dense_replace"]))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_expert_weights_scale(1.0)
    writer.add_expert_count(need(config, "n_routed_experts"))
    writer.add_expert_shared_count(need(config, "n_shared_experts"))


FAMILY = Family(
    architectures=("DeepseekForCausalLM",),
    model_types=("deepseek",),
    arch="deepseek",
    computed={
        "hidden_act": SILU,
        "norm_topk_prob": (None, False),
        "scoring_func": (None, "softmax"),
        "moe_layer_freq": (None, 1),
        "rope_scaling": (None,),
        "attention_bias": (None, False),
    },
    defaults={"first_k_dense_replace": 0},  # the class comes with its model, whose config.json has all settings
    tensors=Decoder(interleave=True, feed_forward=EXPERTS).tensors,
    write_keys=write_keys,
)
