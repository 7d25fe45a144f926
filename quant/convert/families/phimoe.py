"""PhimoeForCausalLM: Phi-3.5-MoE and Phi-mini-MoE. Phi-3's vocabulary and keys, norms with biases.

The heads of Phi-tiny-MoE do not fill its width, as llama.cpp needs them to.
llama.cpp weighs the chosen experts by their share of the scores; the model's own code, where one is far ahead, by one.
Source: conversion/phi.py and src/models/phimoe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import SILU, Config, need, refuse_unless, require_full_width
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.phi3 import FAMILY as PHI3
from quant.convert.families.phi3 import write_keys as write_phi3_keys
from quant.convert.families.planned import Planned

EXPERTS = Experts(
    n_experts="num_local_experts",
    n_ff="intermediate_size",
    module="block_sparse_moe",
    names=("w1", "w3", "w2"),
    written=("gate", "down", "up"),
)


def _with_attention_factor(config: Config) -> Config:
    """Name the factor of the rotary embedding as other models do; llama.cpp has one for any length."""
    rope = config.get("rope_scaling")
    if not isinstance(rope, dict) or rope.get("long_mscale") is None:
        return config
    refuse_unless(rope, "short_mscale", (rope["long_mscale"],))
    return {**config, "rope_scaling": {**rope, "attention_factor": rope["long_mscale"]}}


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; the norms and the output matrix have biases."""
    decoder = Decoder(qkv_bias=True, output_bias=True, feed_forward=EXPERTS)
    for planned in decoder.tensors(config):
        yield planned
        if planned.name.endswith(("norm.weight", "lm_head.weight")):
            yield Planned(name=planned.name.replace(".weight", ".bias"), shape=planned.shape[:1])


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Phi-3's keys and the numbers of experts."""
    write_phi3_keys(writer, config, file_type)
    writer.add_expert_used_count(need(config, "num_experts_per_tok"))
    writer.add_expert_count(need(config, "num_local_experts"))


FAMILY = msgspec.structs.replace(
    PHI3,
    architectures=("PhiMoEForCausalLM", "PhimoeForCausalLM"),
    model_types=("phimoe",),
    arch="phimoe",
    adapt=_with_attention_factor,
    computed={
        "hidden_act": SILU,
        "attention_bias": (True,),
        "lm_head_bias": (True,),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # transformers' PhimoeConfig (4.57)
        "vocab_size": 32064,
        "hidden_size": 4096,
        "intermediate_size": 6400,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "num_local_experts": 16,
        "num_experts_per_tok": 2,
    },
    check=require_full_width,
    tensors=tensors,
    write_keys=write_keys,
)
