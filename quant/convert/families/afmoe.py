"""AfmoeForCausalLM: Trinity Nano and Mini. Gated attention, with a window and a rotary embedding in 3 of 4 layers.

Norms before and after attention and feed-forward part; the first layers have no experts. Experts are chosen by the
sigmoid of their scores and a bias, and some compute every token.
Source: conversion/afmoe.py and src/models/afmoe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, n_heads, need, number, refuse_unless
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, after_dense, shared_by_count
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.planned import Planned

_GROUP = 4  # layers, of which the last has no window and no rotary embedding
_NORMS = ("input_layernorm", "post_attention_layernorm", "pre_mlp_layernorm", "post_mlp_layernorm")
EXPERTS = Experts(
    router="router.gate",
    written=("gate", "up", "down"),
    score_bias="expert_bias",
    shared="mlp.shared_experts",
    n_ff_shared=shared_by_count("num_shared_experts"),
    is_dense=after_dense("num_dense_layers"),
)


def _feed_forward(config: Config, layer: int) -> Iterator[Planned]:
    yield Planned(
        name=f"model.layers.{layer}.self_attn.gate_proj.weight",
        shape=(n_heads(config) * head_dim(config), need(config, "hidden_size")),
        target=f"blk.{layer}.attn_gate.weight",
    )
    yield from EXPERTS(config, layer)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add llama's keys, those of the experts and the window."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_expert_shared_count(int(config["num_shared_experts"]))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_leading_dense_block_count(int(config["num_dense_layers"]))
    writer.add_expert_weights_norm(True)
    writer.add_expert_weights_scale(number(config, "route_scale"))
    writer.add_sliding_window(need(config, "sliding_window"))


def _check(config: Config) -> None:
    usual = window_layers({**config, "layer_types": None, "sliding_window_pattern": None}, _GROUP)
    kinds = ["sliding_attention" if window else "full_attention" for window in usual]
    refuse_unless(config, "layer_types", (None, kinds))


FAMILY = Family(
    architectures=("AfmoeForCausalLM",),
    model_types=("afmoe",),
    arch="afmoe",
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "global_attn_every_n_layers": (None, _GROUP),
        "mup_enabled": (True,),
        "route_norm": (None, True),
        "score_func": (None, "sigmoid"),
        "n_group": (None, 1),
        "topk_group": (None, 1),
        "num_expert_groups": (None, 1),
    },
    defaults={  # transformers' AfmoeConfig (5.24)
        "num_key_value_heads": n_heads,
        "head_dim": 128,
        "max_position_embeddings": 16384,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "moe_intermediate_size": 1408,
        "num_dense_layers": 1,
        "num_experts": 64,
        "num_experts_per_tok": 6,
        "num_shared_experts": 2,
        "route_scale": 1.0,
        "sliding_window": 1024,
    },
    sizes={
        "vocab_size": 200192,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
    },
    check=_check,
    tensors=Decoder(qk_norms="head", norms=_NORMS, feed_forward=_feed_forward).tensors,
    write_keys=write_keys,
)
