"""Spark2_5ForCausalLM: Spark X2.5. Most layers have a window; a gate for each head scales what its attention yields.

Layers with a window and those without differ in base and share of their rotary embedding.
Source: conversion/spark2_5.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.convert.families.base import Config, Family, head_dim, n_head_kv, n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.families.window_kinds import FULL, WINDOWED, rotated

_PATTERN = 4
_PARTS = tuple(f".{part}_proj.weight" for part in "qkv")  # of the attention, in other families


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; queries, keys and values are the rows of one matrix."""
    n_embd, heads = need(config, "hidden_size"), n_heads(config)
    n_rows = (heads + 2 * n_head_kv(config)) * head_dim(config)
    yield from (each for each in Decoder().tensors(config) if not each.name.endswith(_PARTS))
    for layer in range(need(config, "num_hidden_layers")):
        for name, target, rows in (("q_k_v_proj", "attn_qkv", n_rows), ("g_proj", "attn_gate", heads)):
            yield Planned(
                name=f"model.layers.{layer}.self_attn.{name}.weight",
                shape=(rows, n_embd),
                target=f"blk.{layer}.{target}.weight",
            )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, which layers have a window, and the rotary dimensions of both kinds."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_sliding_window_pattern(window_layers(config, _PATTERN))
    writer.add_rope_dimension_count(rotated(config, FULL, head_dim(config)))
    writer.add_rope_dimension_count_swa(rotated(config, WINDOWED, head_dim(config)))


FAMILY = Family(
    architectures=("Spark2_5ForCausalLM",),
    model_types=("spark2_5",),
    arch="spark2_5",
    named_as="llama",
    computed={
        "hidden_act": ("gelu",),
        "gate_attn_act_mode": ("sigmoid",),
        "headwise_attn_output_gate": (True,),
    },
    tensors=tensors,
    write_keys=write_keys,
)
