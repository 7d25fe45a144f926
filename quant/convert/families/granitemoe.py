"""GraniteMoeForCausalLM and GraniteMoeSharedForCausalLM: the experts of Granite 3, merged in the checkpoint.

Granite's scale factors; the second class has experts that compute every token.
Source: conversion/granite.py and src/models/granite-moe.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import SILU, Config, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts, Merged
from quant.convert.families.granite import FAMILY as GRANITE
from quant.convert.families.granite import write_keys as write_granite_keys
from quant.convert.families.planned import From, Planned

EXPERTS = Experts(
    n_experts="num_local_experts",
    n_ff="intermediate_size",
    module="block_sparse_moe",
    router="router.layer",
    names=None,
    merged=Merged(gate_up="input_linear.weight", down="output_linear.weight"),
)


def shared_experts(config: Config, layer: int) -> Iterator[Planned]:
    """Yield the matrices of the experts that compute every token, where the config has them."""
    if config.get("shared_intermediate_size"):
        yield from shared_mlp(config, layer, need(config, "shared_intermediate_size"), "_shexp")


def shared_mlp(config: Config, layer: int, n_ff: int, suffix: str = "") -> Iterator[Planned]:
    """Yield a layer's matrices for every token, of which the checkpoint merges gate and up; `suffix` is GGUF's."""
    n_embd, block = need(config, "hidden_size"), f"model.layers.{layer}.shared_mlp"
    for part, first_row in (("gate", 0), ("up", n_ff)):
        yield Planned(
            name=f"{block}.input_linear.weight",
            shape=(n_ff, n_embd),
            target=f"blk.{layer}.ffn_{part}{suffix}.weight",
            source_shape=(2 * n_ff, n_embd),
            order=From(first_row),
        )
    yield Planned(
        name=f"{block}.output_linear.weight", shape=(n_embd, n_ff), target=f"blk.{layer}.ffn_down{suffix}.weight"
    )


def _feed_forward(config: Config, layer: int) -> Iterator[Planned]:
    yield from EXPERTS(config, layer)
    yield from shared_experts(config, layer)


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors, with attention biases where it has them."""
    bias = bool(config.get("attention_bias", False))
    return Decoder(qkv_bias=bias, output_bias=bias, interleave=True, feed_forward=_feed_forward).tensors(config)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add granite's keys and the width of the experts that compute every token, if there are any."""
    write_granite_keys(writer, config, file_type)
    if config.get("shared_intermediate_size"):
        writer.add_expert_shared_feed_forward_length(need(config, "shared_intermediate_size"))


FAMILY = msgspec.structs.replace(
    GRANITE,
    architectures=("GraniteMoeForCausalLM", "GraniteMoeSharedForCausalLM"),
    model_types=("granitemoe", "granitemoeshared"),
    arch="granitemoe",
    computed={"hidden_act": SILU},
    defaults={  # transformers' GraniteMoeConfig and GraniteMoeSharedConfig (4.57)
        **GRANITE.defaults,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    tensors=tensors,
    write_keys=write_keys,
)
