"""RwkvHybridForCausalLM: ARWKV, a Qwen2 whose attention is RWKV 7's mix of tokens.

Source: conversion/rwkv.py and src/models/arwkv7.cpp of the pinned llama.cpp; the model's code is the repository's own.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, need, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned
from quant.convert.families.rwkv7 import FUSED, require_heads

# Constants of the model's code.
_RANKS = {"w": 64, "v": 32, "a": 64, "g": 128}


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors: a Qwen2's but for attention."""
    for planned in Decoder().tensors({**config, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 2}):
        if ".self_attn." not in planned.name:
            yield planned
    for layer in range(need(config, "num_hidden_layers")):
        yield from _time_mix(config, f"model.layers.{layer}.self_attn.time_mixer", layer)


def _time_mix(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, size, target = need(config, "hidden_size"), need(config, "head_size"), f"blk.{layer}.time_mix"
    one: tuple[int, ...] = (1, 1, n_embd)
    sources = tuple(f"{name}.x_{part}" for part in FUSED if part != "g" or config["wkv_has_gate"])
    yield Planned(
        name=sources[0],
        shape=(len(sources), 1, 1, n_embd),
        stacked=sources,
        source_shape=one,
        target=f"{target}_lerp_fused.weight",
    )
    for part in ("k_k", "k_a"):
        yield Planned(name=f"{name}.{part}", shape=(n_embd,), source_shape=one, target=f"{target}_{part}.weight")
    yield Planned(
        name=f"{name}.r_k", shape=(n_embd,), source_shape=(n_embd // size, size), target=f"{target}_r_k.weight"
    )
    for part in ("receptance", "key", "value", "output"):
        yield Planned(name=f"{name}.{part}.weight", shape=(n_embd, n_embd), target=f"{target}_{part}.weight")
    for part in _RANKS:
        if part == "g" and not config["wkv_has_gate"]:
            continue
        # The first layer mixes no values of a layer before; llama.cpp wants the tensors, and its converter takes a's.
        source = "a" if part == "v" and layer == 0 else part
        rank, into = _RANKS[source], f"{target}_{part}"
        yield Planned(name=f"{name}.{source}1", shape=(rank, n_embd), transposed=True, target=f"{into}1.weight")
        yield Planned(name=f"{name}.{source}2", shape=(n_embd, rank), transposed=True, target=f"{into}2.weight")
        if part != "g":
            yield Planned(name=f"{name}.{source}0", shape=(n_embd,), source_shape=one, target=f"{into}0.weight")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add arwkv7's keys."""
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_block_count(need(config, "num_hidden_layers"))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_wkv_head_size(need(config, "head_size"))
    writer.add_decay_lora_rank(_RANKS["w"])
    writer.add_iclr_lora_rank(_RANKS["a"])
    writer.add_value_residual_mix_lora_rank(_RANKS["v"])
    writer.add_gate_lora_rank(_RANKS["g"] if config["wkv_has_gate"] else 0)
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_file_type(file_type)
    writer.add_token_shift_count(1)
    writer.add_head_count(0)


def _check(config: Config) -> None:
    require_heads(config, "head_size")
    layers = config.get("wkv_layers")
    if layers not in (None, "full", "all", list(range(need(config, "num_hidden_layers")))):
        raise UserError(
            f"config.json has wkv_layers = {str(layers)[:80]}, and in llama.cpp's arwkv7 all layers mix tokens"
        )


def _without_gate(config: Config) -> Family:
    """Return the family of a config; a model without a gate has a mix for it, which nothing reads."""
    return FAMILY if config.get("wkv_has_gate", True) else msgspec.structs.replace(FAMILY, ignored=(*UNUSED, ".x_g"))


UNUSED = tuple(f".layers.0.self_attn.time_mixer.v{part}" for part in range(3))
FAMILY = Family(
    architectures=("RwkvHybridForCausalLM",),
    model_types=("rwkv_hybrid",),
    arch="arwkv7",
    chosen=_without_gate,
    computed={
        "hidden_act": SILU,
        "tie_word_embeddings": (None, False),
        "wkv_version": (7,),
        "wkv_has_group_norm": (None, False),
    },
    defaults={"wkv_has_gate": True, "rms_norm_eps": 1e-6, "head_size": 64},  # the repository's own RwkvHybridConfig
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    ignored=UNUSED,
)
