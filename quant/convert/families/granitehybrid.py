"""GraniteMoeHybridForCausalLM: Granite 4, whose layers are Mamba 2 or attention; some members have attention alone.

Those are llama.cpp's granite and granitemoe. Positions are known from the states, or from rotary embeddings.
Source: conversion/granite.py and src/models/granite-hybrid.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, is_tied, n_head_kv, n_heads, need
from quant.convert.families.granite import write_keys as write_granite_keys
from quant.convert.families.granitemoe import EXPERTS, shared_experts
from quant.convert.families.hybrid import attention, layer_kinds, require_full_width
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import From, Planned
from quant.convert.families.state_space import Mamba2, vocabulary_in_steps

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
    if config.get("mamba_d_head") == "auto":
        config["mamba_d_head"] = None
    return vocabulary_in_steps(_STEP, config) if _is_hybrid(config) else config


def _n_inner(config: Config) -> int:
    return _EXPAND * need(config, "hidden_size")


def _sizes(config: Config) -> Mamba2:
    return Mamba2(
        n_embd=need(config, "hidden_size"),
        n_inner=_n_inner(config),
        n_state=need(config, "mamba_d_state"),
        n_conv=need(config, "mamba_d_conv"),
        n_heads=need(config, "mamba_n_heads"),
        n_groups=need(config, "mamba_n_groups"),
    )


def _check(config: Config) -> None:
    _kinds(config)
    require_full_width(config, "granitehybrid")
    width, shared = need(config, "intermediate_size"), config["shared_intermediate_size"]
    if not _has_experts(config) and width != shared:
        raise UserError(
            f"config.json has shared_intermediate_size = {shared} and intermediate_size = {width}; "
            "without experts llama.cpp's granitehybrid has one width"
        )
    if _is_hybrid(config) and need(config, "mamba_d_head") * need(config, "mamba_n_heads") != _n_inner(config):
        raise UserError(
            f"config.json asks for {config['mamba_n_heads']} state space heads of {config['mamba_d_head']} values, "
            f"which are not {_EXPAND} times hidden_size"
        )


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
            yield from _feed_forward(config, f"{block}.shared_mlp", layer)
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def _feed_forward(config: Config, name: str, layer: int) -> Iterator[Planned]:
    n_embd, n_ff = need(config, "hidden_size"), need(config, "intermediate_size")
    for number, part in enumerate(("gate", "up")):
        yield Planned(
            name=f"{name}.input_linear.weight",
            shape=(n_ff, n_embd),
            target=f"blk.{layer}.ffn_{part}.weight",
            source_shape=(2 * n_ff, n_embd),
            order=From(number * n_ff),
        )
    yield Planned(name=f"{name}.output_linear.weight", shape=(n_embd, n_ff), target=f"blk.{layer}.ffn_down.weight")


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add granite's keys and those of the states; whether there is a rotary embedding is a key of its own."""
    write_granite_keys(writer, config, file_type)
    if config["shared_intermediate_size"]:
        writer.add_expert_shared_feed_forward_length(need(config, "shared_intermediate_size"))
    sizes = _sizes(config)
    writer.add_ssm_conv_kernel(sizes.n_conv)
    writer.add_ssm_state_size(sizes.n_state)
    writer.add_ssm_group_count(sizes.n_groups)
    writer.add_ssm_inner_size(sizes.n_inner)
    writer.add_ssm_time_step_rank(sizes.n_heads)
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
        "mamba_conv_bias": (None, True),
        "mamba_proj_bias": (None, False),
        "mamba_expand": (None, _EXPAND),
        "position_embedding_type": (None, "nope", "rope"),
    },
    defaults={  # transformers' GraniteMoeHybridConfig (4.57)
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "attention_multiplier": 1.0,
        "embedding_multiplier": 1.0,
        "residual_multiplier": 1.0,
        "logits_scaling": 1.0,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
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
