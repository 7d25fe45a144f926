"""JambaForCausalLM, such as Jamba Reasoning: Mamba layers with norms, attention in some, experts in some.

Source: conversion/jamba.py and src/models/jamba.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, is_tied, n_head_kv, n_heads, need, number
from quant.convert.families.decoder import gated
from quant.convert.families.experts import Experts
from quant.convert.families.hybrid import attention, require_full_width
from quant.convert.families.mamba import time_step_rank
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import Mamba1

_EXPAND = 2  # the only factor of llama.cpp's jamba
_EXPERTS = Experts(n_ff="intermediate_size", module="feed_forward", router="router")


def _adapt(config: Config) -> Config:
    return {**config, "mamba_dt_rank": None} if config.get("mamba_dt_rank") == "auto" else config


def _is_attention(config: Config, layer: int) -> bool:
    return bool(layer % need(config, "attn_layer_period") == config["attn_layer_offset"])


def _require_offset(config: Config, key: str, period: int) -> None:
    offset = config[key]
    if type(offset) is not int or not 0 <= offset < period:
        raise UserError(f"config.json has {key} = {str(offset)[:80]}, which must be below {period}")


def _has_experts(config: Config, layer: int) -> bool:
    is_place = bool(layer % need(config, "expert_layer_period") == config["expert_layer_offset"])
    return need(config, "num_experts") > 1 and is_place


def _check(config: Config) -> None:
    _require_offset(config, "attn_layer_offset", need(config, "attn_layer_period"))
    require_full_width(config, "jamba")
    if need(config, "num_experts") > 1:
        _require_offset(config, "expert_layer_offset", need(config, "expert_layer_period"))


def _sizes(config: Config) -> Mamba1:
    n_embd = need(config, "hidden_size")
    return Mamba1(
        n_embd=n_embd,
        n_inner=_EXPAND * n_embd,
        n_state=need(config, "mamba_d_state"),
        n_conv=need(config, "mamba_d_conv"),
        dt_rank=need(config, "mamba_dt_rank"),
    )


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab, n_ff = need(config, "hidden_size"), need(config, "vocab_size"), need(config, "intermediate_size")
    sizes = _sizes(config)
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        if _is_attention(config, layer):
            yield from attention(config, f"{block}.self_attn")
        else:
            yield from sizes.tensors(f"{block}.mamba")
            for part, width in (("dt", sizes.dt_rank), ("b", sizes.n_state), ("c", sizes.n_state)):
                yield Planned(name=f"{block}.mamba.{part}_layernorm.weight", shape=(width,))
        if _has_experts(config, layer):
            yield from _EXPERTS(config, layer)
        else:
            yield from gated(f"{block}.feed_forward", n_embd, n_ff)
        for name in ("input_layernorm", "pre_ff_layernorm"):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))
    yield Planned(name="model.final_layernorm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add jamba's keys."""
    n_layers = need(config, "num_hidden_layers")
    writer.add_block_count(n_layers)
    writer.add_context_length(need(config, "max_position_embeddings"))
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_head_count(n_heads(config))
    writer.add_head_count_kv([n_head_kv(config) if _is_attention(config, layer) else 0 for layer in range(n_layers)])
    _sizes(config).write_keys(writer)
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_expert_count(need(config, "num_experts"))
    writer.add_expert_used_count(need(config, "num_experts_per_tok"))
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("JambaForCausalLM",),
    model_types=("jamba",),
    arch="jamba",
    adapt=_adapt,
    computed={
        "hidden_act": SILU,
        "mamba_conv_bias": (None, True),
        "mamba_proj_bias": (None, False),
        "mamba_expand": (None, _EXPAND),
        "sliding_window": (None,),
    },
    defaults={  # transformers' JambaConfig (4.57)
        "vocab_size": 65536,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 262144,
        "rms_norm_eps": 1e-6,
        "num_experts": 16,
        "num_experts_per_tok": 2,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 16,
        "mamba_d_conv": 4,
        "mamba_dt_rank": time_step_rank,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
