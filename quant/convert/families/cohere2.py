"""Cohere2ForCausalLM: Command R7B. Cohere's graph; three of four layers have a window, and only these rotate.

Source: conversion/command_r.py and src/models/cohere2.cpp of the pinned llama.cpp.
"""

import gguf

from quant.convert.families.base import Config, Family, head_dim, n_heads, need, number
from quant.convert.families.command_r import COMPUTED, DEFAULTS, IGNORED, TENSORS, refuse_scaled_rope
from quant.convert.families.keys import write_common_keys, write_window_pattern

_PATTERN = 4


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the logits' scale and the windows."""
    write_common_keys(writer, config, file_type)
    writer.add_logit_scale(number(config, "logit_scale"))
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(head_dim(config))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)
    write_window_pattern(writer, config, _PATTERN)


FAMILY = Family(
    architectures=("Cohere2ForCausalLM",),
    model_types=("cohere2",),
    arch="cohere2",
    computed=COMPUTED | {"rotary_pct": (None, 1, 1.0)},
    defaults={
        **DEFAULTS,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "sliding_window": 4096,
    },
    check=refuse_scaled_rope,
    tensors=TENSORS,
    write_keys=write_keys,
    ignored=IGNORED,
)
