"""SmallThinkerForCausalLM: experts that are chosen from the layer's input, before attention, and gated by ReLU.

Source: conversion/smallthinker.py and src/models/smallthinker.cpp of the pinned llama.cpp.
"""

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, Family, need, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.keys import write_common_keys

EXPERTS = Experts(
    n_experts="moe_num_primary_experts",
    n_used="moe_num_active_primary_experts",
    n_ff="moe_ffn_hidden_size",
    module="block_sparse_moe",
    router="primary_router",
    names=("gate", "up", "down"),
)
_WINDOW = 4096  # llama.cpp takes this one, whatever the file says
_GROUP = 4  # layers, of which all but the first have a window and a rotary embedding


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts, and the window if any layer has one."""
    write_common_keys(writer, config, file_type)
    writer.add_expert_count(need(config, "moe_num_primary_experts"))
    writer.add_expert_used_count(need(config, "moe_num_active_primary_experts"))
    writer.add_expert_feed_forward_length(need(config, "moe_ffn_hidden_size"))
    writer.add_feed_forward_length(need(config, "moe_ffn_hidden_size"))
    scores = gguf.ExpertGatingFuncType
    writer.add_expert_gating_func(scores.SOFTMAX if config.get("moe_primary_router_apply_softmax") else scores.SIGMOID)
    if any(config.get("sliding_window_layout") or []):
        writer.add_sliding_window(need(config, "sliding_window_size"))


def _check_layouts(config: Config) -> None:
    """Refuse other layers with a window or without a rotary embedding than those that llama.cpp takes.

    Raises:
        UserError: the config has such layers.
    """
    n_layers = need(config, "num_hidden_layers")
    plain, mixed = [0] * n_layers, [int(layer % _GROUP > 0) for layer in range(n_layers)]
    windows, rotated = (config.get(f"{name}_layout") for name in ("sliding_window", "rope"))
    has_windows = (windows or plain) != plain
    expected = (mixed, mixed) if has_windows else (plain, [1] * n_layers)
    if (windows or plain, rotated or expected[1]) != expected:
        raise UserError(
            "config.json has a sliding_window_layout or rope_layout that llama.cpp does not compute: it takes windows "
            f"and rotary embeddings in all layers but each {_GROUP}th from the first, or no windows at all"
        )
    if has_windows and number(config, "sliding_window_size") != _WINDOW:
        size = config["sliding_window_size"]
        raise UserError(f"config.json has sliding_window_size = {size}; llama.cpp takes {_WINDOW}")


FAMILY = Family(
    architectures=("SmallThinkerForCausalLM",),
    model_types=("smallthinker",),
    arch="smallthinker",
    computed={
        "hidden_act": (None, "relu"),
        "norm_topk_prob": (None, True),
        "moe_enable_secondary_experts": (None, False),
        "rope_scaling": (None,),
    },
    defaults={"rms_norm_eps": 1e-6, "rope_theta": 10000.0},  # of the class that comes with the model
    check=_check_layouts,
    tensors=Decoder(feed_forward=EXPERTS).tensors,
    write_keys=write_keys,
)
