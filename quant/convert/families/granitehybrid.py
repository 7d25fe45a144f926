"""GraniteMoeHybridForCausalLM: Granite 4, whose layers are Mamba 2 or attention; some members have attention alone.

Those are llama.cpp's granite and granitemoe. Positions are known from the states, or from rotary embeddings.
Source: conversion/granite.py and src/models/granite-hybrid.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, is_tied, n_head_kv, need
from quant.convert.families.granite import write_keys as write_granite_keys
from quant.convert.families.granitemoe import EXPERTS, shared_experts, shared_mlp
from quant.convert.families.granitemoe import FAMILY as GRANITEMOE
from quant.convert.families.hybrid import attention, layer_kinds, require_full_width
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import (
    MAMBA2_COMPUTED,
    Mamba2,
    mamba2_sizes,
    require_channels,
    sized_heads,
    vocabulary_in_steps,
)

_STATE, _ATTENTION = "mamba", "attention"
_STEP = 8  # of the vocabulary
_EXPAND = 2  # the only factor of llama.cpp's granitehybrid


def _kinds(config: Config) -> list[str]:
    return layer_kinds(config, "layer_types", (_STATE, _ATTENTION))


def _is_hybrid(config: Config) -> bool:
    kinds = config.get("layer_types")
    return not isinstance(kinds, list) or _STATE in kinds


def _has_experts(config: Config) -> bool:
    return config.get("num_local_experts") != 0


def _adapt(config: Config) -> Config:
    config = {key: value for key, value in config.items() if key != "head_dim"}  # llama.cpp's graph ignores it
    if config.get("layer_types") is None:
        # Source: layers_block_type of transformers' GraniteMoeHybridConfig (4.57).
        n_layers = config.get("num_hidden_layers", 32)
        config["layer_types"] = [_STATE] * min(n_layers, 512) if type(n_layers) is int else None
    config = sized_heads(config)
    return vocabulary_in_steps(_STEP, config) if _is_hybrid(config) else config


def _n_inner(config: Config) -> int:
    return _EXPAND * need(config, "hidden_size")


def _sizes(config: Config) -> Mamba2:
    return mamba2_sizes(config, _n_inner(config))


def _check(config: Config) -> None:
    _kinds(config)
    require_full_width(config, "granitehybrid")
    width, shared = need(config, "intermediate_size"), config["shared_intermediate_size"]
    if not _has_experts(config) and width != shared:
        raise UserError(
            f"config.json has shared_intermediate_size = {shared} and intermediate_size = {width}; "
            "without experts llama.cpp's granitehybrid has one width"
        )
    if _is_hybrid(config):
        require_channels(config, _n_inner(config), f"{_EXPAND} times hidden_size")


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer, kind in enumerate(_kinds(config)):
        block = f"model.layers.{layer}"
        if kind == _STATE:
            yield from _sizes(config).tensors(f"{block}.mamba", layer)
        else:
            biased = bool(config.get("attention_bias", False))
            yield from attention(config, f"{block}.self_attn", interleave=True, bias=biased)
        if _has_experts(config):
            yield from EXPERTS(config, layer)
            yield from shared_experts(config, layer)
        else:
            yield from shared_mlp(config, layer, need(config, "intermediate_size"))
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add granite's keys and those of the states; whether there is a rotary embedding is a key of its own."""
    write_granite_keys(writer, config, file_type)
    if config["shared_intermediate_size"]:
        writer.add_expert_shared_feed_forward_length(need(config, "shared_intermediate_size"))
    _sizes(config).write_keys_by_state(writer)
    writer.add_head_count_kv([n_head_kv(config) if kind == _ATTENTION else 0 for kind in _kinds(config)])
    is_rotary = config.get("position_embedding_type") == "rope"
    writer.add_rope_scaling_finetuned(is_rotary)
    if _is_hybrid(config):
        writer.add_context_length(CONTEXT)


def _family_of(config: Config) -> Family:
    if _is_hybrid(config):
        return FAMILY
    return msgspec.structs.replace(FAMILY, arch="granitemoe" if _has_experts(config) else "granite")


FAMILY = Family(
    architectures=("GraniteMoeHybridForCausalLM",),
    model_types=("granitemoehybrid",),
    arch="granitehybrid",
    chosen=_family_of,
    adapt=_adapt,
    computed={
        "hidden_act": SILU,
        **MAMBA2_COMPUTED,
        "mamba_expand": (None, _EXPAND),
        "position_embedding_type": (None, "nope", "rope"),
    },
    defaults={  # transformers' GraniteMoeHybridConfig (4.57)
        **GRANITEMOE.sizes,
        **GRANITEMOE.defaults,
        "shared_intermediate_size": 1024,
        "mamba_n_heads": 128,
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_head": lambda config: max(1, _n_inner(config) // need(config, "mamba_n_heads")),
        "mamba_d_conv": 4,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
