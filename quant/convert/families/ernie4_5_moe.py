"""Ernie4_5_MoeForCausalLM: ERNIE-4.5-21B-A3B. The attention of the dense ones, and experts after the first layers.

Experts are chosen by their scores and a bias, and some compute every token. Layers that predict further tokens are
omitted.
Source: conversion/ernie.py and src/models/ernie4-5-moe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import SILU, Config, Family, need, refuse_unless
from quant.convert.families.decoder import Decoder
from quant.convert.families.ernie4_5 import vocabulary
from quant.convert.families.experts import Experts, shared_by_count
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned


def _is_dense(config: Config, layer: int) -> bool:
    first, step = int(config["moe_layer_start_index"]), need(config, "moe_layer_interval")
    return layer < first or (layer + 1) % step != 0


EXPERTS = Experts(
    n_experts="moe_num_experts",
    n_used="moe_k",
    written=("gate", "up", "down"),
    score_bias="moe_statics.e_score_correction_bias",
    shared="mlp.shared_experts",
    n_ff_shared=shared_by_count("moe_num_shared_experts"),
    is_dense=_is_dense,
)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; the bias of the scores is a row."""
    for planned in Decoder(feed_forward=EXPERTS).tensors(config):
        if planned.name.endswith("e_score_correction_bias"):
            yield msgspec.structs.replace(planned, shape=(1, *planned.shape))
        else:
            yield planned


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts."""
    write_common_keys(writer, config, file_type)
    writer.add_expert_count(need(config, "moe_num_experts"))
    writer.add_expert_used_count(need(config, "moe_k"))
    writer.add_interleave_moe_layer_step(need(config, "moe_layer_interval"))
    writer.add_leading_dense_block_count(int(config["moe_layer_start_index"]))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    n_shared = int(config["moe_num_shared_experts"])
    writer.add_expert_shared_count(n_shared)
    if n_shared:
        writer.add_expert_shared_feed_forward_length(n_shared * need(config, "moe_intermediate_size"))


def _check(config: Config) -> None:
    last = need(config, "num_hidden_layers") - 1
    refuse_unless(config, "moe_layer_end_index", (None, -1, last))


FAMILY = Family(
    architectures=("Ernie4_5_MoeForCausalLM",),
    model_types=("ernie4_5_moe",),
    arch="ernie4_5-moe",
    computed={"hidden_act": SILU, "use_bias": (None, False)},
    defaults={  # transformers' Ernie4_5_MoeConfig (4.57)
        "num_key_value_heads": 4,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
        "moe_intermediate_size": 1536,
        "moe_k": 6,
        "moe_num_experts": 64,
        "moe_num_shared_experts": 2,
        "moe_layer_start_index": 1,
        "moe_layer_interval": 1,
    },
    sizes={
        "vocab_size": 103424,
        "hidden_size": 2560,
        "intermediate_size": 12288,
        "num_hidden_layers": 28,
        "num_attention_heads": 20,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    omitted=("model.mtp_block.", "model.mtp_emb_norm.", "model.mtp_hidden_norm.", "model.mtp_linear_proj."),
    vocabulary=vocabulary,
)
