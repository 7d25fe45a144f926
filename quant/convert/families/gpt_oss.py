"""GptOssForCausalLM: gpt-oss-20b. A window in every other layer, attention sinks, and experts with biases.

The rows of gate and up alternate in the checkpoint, where all experts' matrices are transposed.
Source: conversion/gpt_oss.py and src/models/openai-moe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, Family, n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, Merged
from quant.convert.families.keys import write_common_keys, write_window_pattern
from quant.convert.families.planned import OfEach, Planned

_GROUP = 2  # layers, of which the first has a window
EXPERTS = Experts(
    n_experts="num_local_experts",
    n_ff="intermediate_size",
    router="router",
    router_bias=True,
    names=None,
    merged=Merged(alternating=True, transposed=True),
)
# Stored as MXFP4, the inputs of a matrix are together.
STORED_EXPERTS = msgspec.structs.replace(EXPERTS, merged=Merged(alternating=True))


def _feed_forward(config: Config, layer: int) -> Iterator[Planned]:
    stored = config.get("quantization_config")
    is_stored = isinstance(stored, dict) and stored.get("quant_method") == "mxfp4"
    yield from (STORED_EXPERTS if is_stored else EXPERTS)(config, layer)
    n_experts, n_ff, n_embd = EXPERTS.count(config), need(config, "intermediate_size"), need(config, "hidden_size")
    module = f"model.layers.{layer}.mlp.experts"
    for part, first in (("gate", 0), ("up", 1)):
        yield Planned(
            name=f"{module}.gate_up_proj_bias",
            shape=(n_experts, n_ff),
            target=f"blk.{layer}.ffn_{part}_exps.bias",
            source_shape=(n_experts, 2 * n_ff),
            order=OfEach(n_ff, 2 * n_ff, first, 2),
        )
    yield Planned(name=f"{module}.down_proj_bias", shape=(n_experts, n_embd), target=f"blk.{layer}.ffn_down_exps.bias")
    yield Planned(
        name=f"model.layers.{layer}.self_attn.sinks",
        shape=(n_heads(config),),
        target=f"blk.{layer}.attn_sinks.weight",
    )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the window and the width of an expert."""
    write_common_keys(writer, config, file_type)
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_expert_feed_forward_length(need(config, "intermediate_size"))
    write_window_pattern(writer, config, _GROUP)


FAMILY = Family(
    architectures=("GptOssForCausalLM",),
    model_types=("gpt_oss",),
    arch="gpt-oss",
    computed={
        "hidden_act": (None, "silu"),
        "attention_bias": (None, True),
        "swiglu_limit": (None, 7, 7.0),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # transformers' GptOssConfig (4.57)
        "num_key_value_heads": 8,
        "head_dim": 64,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 150000.0,
        "sliding_window": 128,
        "num_local_experts": 128,
        "num_experts_per_tok": 4,
        "rope_scaling": {
            "rope_type": "yarn",
            "factor": 32.0,
            "beta_fast": 32.0,
            "beta_slow": 1.0,
            "truncate": False,
            "original_max_position_embeddings": 4096,
        },
    },
    sizes={
        "vocab_size": 201088,
        "hidden_size": 2880,
        "intermediate_size": 2880,
        "num_hidden_layers": 36,
        "num_attention_heads": 64,
    },
    tensors=Decoder(qkv_bias=True, output_bias=True, feed_forward=_feed_forward).tensors,
    write_keys=write_keys,
)
