"""FalconH1ForCausalLM: attention and a Mamba 2 layer side by side in every layer.

The config's factors of embeddings, keys, states and outputs are multiplied into the matrices.
Source: conversion/falcon_h1.py and src/models/falcon-h1.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families import state_space
from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    as_number,
    head_dim,
    is_tied,
    n_head_kv,
    n_heads,
    need,
    number,
    rope_parameters,
)
from quant.convert.families.decoder import gated
from quant.convert.families.factors import Factor, multiplied, numbers, of_rows, twice
from quant.convert.families.hybrid import attention
from quant.convert.families.keys import write_counts
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned

_FACTORS = [
    f"{each}_multiplier"
    for each in ("embedding", "lm_head", "key", "attention_in", "attention_out", "ssm_in", "ssm_out")
]


def _sizes(config: Config) -> state_space.Mamba2:
    return state_space.mamba2_sizes(config, need(config, "mamba_d_ssm"))


def _check(config: Config) -> None:
    if config["mamba_rms_norm"] and config["mamba_norm_before_gate"]:
        raise UserError(
            "config.json has mamba_rms_norm and mamba_norm_before_gate, and llama.cpp normalizes behind the gate; "
            "choose another model"
        )
    if rope_parameters(config).get("rope_type") not in (None, "default"):
        raise UserError("config.json asks for a rope scaling, which llama.cpp's falcon-h1 does not have")
    state_space.require_channels(config, need(config, "mamba_d_ssm"), f"mamba_d_ssm = {config['mamba_d_ssm']}")
    if is_tied(config) and number(config, "lm_head_multiplier") != number(config, "embedding_multiplier"):
        raise UserError(
            "config.json ties the embeddings and has two factors for them, which one tensor of GGUF cannot hold; "
            "save the model with an output matrix of its own"
        )
    _factors(config)


def _factors(config: Config) -> dict[str, Factor]:
    """Return the factors by the names of the modules that have the matrices."""
    into, n_keys = number(config, "attention_in_multiplier"), n_head_kv(config) * head_dim(config)
    gate, down = numbers(config, "mlp_multipliers", 2)
    parts, each = _sizes(config).parts, numbers(config, "ssm_multipliers", 5)
    return {
        "embed_tokens": Factor(number(config, "embedding_multiplier")),
        "lm_head": Factor(number(config, "lm_head_multiplier")),
        "q_proj": Factor(into),
        "k_proj": twice(number(config, "key_multiplier"), into, n_keys),
        "v_proj": Factor(into),
        "o_proj": Factor(number(config, "attention_out_multiplier")),
        "in_proj": of_rows(number(config, "ssm_in_multiplier"), parts, each),
        "out_proj": Factor(number(config, "ssm_out_multiplier")),
        "gate_proj": Factor(gate),
        "down_proj": Factor(down),
    }


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return multiplied(_without_factors(config), _factors(config))


def _without_factors(config: Config) -> Iterator[Planned]:
    n_embd, n_vocab, n_ff = (need(config, key) for key in ("hidden_size", "vocab_size", "intermediate_size"))
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        yield from attention(config, f"{block}.self_attn")
        yield from _sizes(config).tensors(f"{block}.mamba", layer, norm=bool(config["mamba_rms_norm"]))
        yield from gated(f"{block}.feed_forward", n_embd, n_ff)
        for name in ("input_layernorm", "pre_ff_layernorm"):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))
    yield Planned(name="model.final_layernorm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add falcon-h1's keys."""
    writer.add_context_length(config.get("max_position_embeddings") or CONTEXT)
    write_counts(writer, config, "embedding_length", "feed_forward_length", "head_count", "block_count")
    _sizes(config).write_keys(writer)
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_file_type(file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_key_length(head_dim(config))
    writer.add_value_length(head_dim(config))
    writer.add_rope_freq_base(as_number(rope_parameters(config)["rope_theta"], "rope_theta"))


FAMILY = Family(
    architectures=("FalconH1ForCausalLM",),
    model_types=("falcon_h1",),
    arch="falcon-h1",
    adapt=state_space.sized_heads,
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "mlp_bias": (None, False),
        **state_space.MAMBA2_COMPUTED,
        "projectors_bias": (None, False),
    },
    defaults={  # transformers' FalconH1Config (4.57)
        "vocab_size": 128000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-5,
        "rope_theta": 100000.0,
        "mamba_d_ssm": 1024,
        "mamba_n_heads": 128,
        "mamba_d_head": lambda config: need(config, "mamba_d_ssm") // need(config, "mamba_n_heads"),
        "mamba_n_groups": 1,
        "mamba_d_state": 256,
        "mamba_d_conv": 4,
        "mamba_norm_before_gate": True,
        "mamba_rms_norm": False,
        **dict.fromkeys(_FACTORS, 1.0),
        "mlp_multipliers": [1.0, 1.0],
        "ssm_multipliers": [1.0] * 5,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
