"""FalconH1ForCausalLM: attention and a Mamba 2 layer side by side in every layer.

The config's factors of embeddings, keys, states and outputs are multiplied into the matrices.
Source: conversion/falcon_h1.py and src/models/falcon-h1.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator
from typing import Any

import gguf
import msgspec

from quant.base.errors import UserError
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
from quant.convert.families.hybrid import attention
from quant.convert.families.mamba import CONTEXT
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import Mamba2

_FACTORS = (
    "embedding_multiplier",
    "lm_head_multiplier",
    "key_multiplier",
    "attention_in_multiplier",
    "attention_out_multiplier",
    "ssm_in_multiplier",
    "ssm_out_multiplier",
)


def _adapt(config: Config) -> Config:
    return {**config, "mamba_d_head": None} if config.get("mamba_d_head") == "auto" else config


def _d_head(config: Config) -> int:
    return need(config, "mamba_d_ssm") // need(config, "mamba_n_heads")


def _sizes(config: Config) -> Mamba2:
    return Mamba2(
        n_embd=need(config, "hidden_size"),
        n_inner=need(config, "mamba_d_ssm"),
        n_state=need(config, "mamba_d_state"),
        n_conv=need(config, "mamba_d_conv"),
        n_heads=need(config, "mamba_n_heads"),
        n_groups=need(config, "mamba_n_groups"),
    )


def _check(config: Config) -> None:
    if config["mamba_rms_norm"] and config["mamba_norm_before_gate"]:
        raise UserError(
            "config.json has mamba_rms_norm and mamba_norm_before_gate, and llama.cpp normalizes behind the gate; "
            "choose another model"
        )
    if rope_parameters(config).get("rope_type") not in (None, "default"):
        raise UserError("config.json asks for a rope scaling, which llama.cpp's falcon-h1 does not have")
    if need(config, "mamba_d_head") * need(config, "mamba_n_heads") != need(config, "mamba_d_ssm"):
        raise UserError(
            f"config.json asks for {config['mamba_n_heads']} state space heads of {config['mamba_d_head']} values, "
            f"which are not mamba_d_ssm = {config['mamba_d_ssm']}"
        )
    if is_tied(config) and number(config, "lm_head_multiplier") != number(config, "embedding_multiplier"):
        raise UserError(
            "config.json ties the embeddings and has two factors for them, which one tensor of GGUF cannot hold; "
            "save the model with an output matrix of its own"
        )
    for key in _FACTORS:
        number(config, key)


def _numbers(config: Config, key: str, length: int) -> list[float]:
    values = config[key]
    if not isinstance(values, list) or len(values) != length:
        raise UserError(f"config.json has {key} = {str(values)[:80]}, which must be a list of {length} numbers")
    return [as_number(value, key) for value in values]


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    embedding, output = number(config, "embedding_multiplier"), number(config, "lm_head_multiplier")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd), scale=embedding)
    for layer in range(need(config, "num_hidden_layers")):
        block = f"model.layers.{layer}"
        yield from _attention(config, block)
        yield from _state_space(config, f"{block}.mamba", layer)
        yield from _feed_forward(config, f"{block}.feed_forward")
        for name in ("input_layernorm", "pre_ff_layernorm"):
            yield Planned(name=f"{block}.{name}.weight", shape=(n_embd,))
    yield Planned(name="model.final_layernorm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), scale=output, optional=is_tied(config))


def _scaled(planned: Planned, first: float, *others: float) -> Planned:
    """Return a matrix with one or two factors, one after the other: each product is rounded."""
    bands = tuple((planned.shape[0], factor) for factor in others if factor != 1)
    return msgspec.structs.replace(planned, scale=first, bands=bands)


def _attention(config: Config, block: str) -> Iterator[Planned]:
    into, keys = number(config, "attention_in_multiplier"), number(config, "key_multiplier")
    name = f"{block}.self_attn"
    factors = {
        f"{name}.q_proj.weight": (into,),
        f"{name}.k_proj.weight": (keys, into),
        f"{name}.v_proj.weight": (into,),
        f"{name}.o_proj.weight": (number(config, "attention_out_multiplier"),),
    }
    for planned in attention(config, name):
        yield _scaled(planned, *factors[planned.name])


def _state_space(config: Config, mixer: str, layer: int) -> Iterator[Planned]:
    sizes = _sizes(config)
    bands, end = [], 0
    for n_rows, factor in zip(sizes.parts, _numbers(config, "ssm_multipliers", len(sizes.parts)), strict=True):
        end += n_rows
        bands.append((end, factor))
    changes: dict[str, Any] = {
        f"{mixer}.in_proj.weight": {"scale": number(config, "ssm_in_multiplier"), "bands": tuple(bands)},
        f"{mixer}.out_proj.weight": {"scale": number(config, "ssm_out_multiplier")},
    }
    for planned in sizes.tensors(mixer, layer, norm=bool(config["mamba_rms_norm"])):
        yield msgspec.structs.replace(planned, **changes.get(planned.name, {}))


def _feed_forward(config: Config, name: str) -> Iterator[Planned]:
    n_embd, n_ff = need(config, "hidden_size"), need(config, "intermediate_size")
    gate, down = _numbers(config, "mlp_multipliers", 2)
    yield Planned(name=f"{name}.gate_proj.weight", shape=(n_ff, n_embd), scale=gate)
    yield Planned(name=f"{name}.up_proj.weight", shape=(n_ff, n_embd))
    yield Planned(name=f"{name}.down_proj.weight", shape=(n_embd, n_ff), scale=down)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add falcon-h1's keys."""
    writer.add_context_length(config.get("max_position_embeddings") or CONTEXT)
    writer.add_embedding_length(need(config, "hidden_size"))
    writer.add_feed_forward_length(need(config, "intermediate_size"))
    writer.add_head_count(n_heads(config))
    writer.add_block_count(need(config, "num_hidden_layers"))
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
    adapt=_adapt,
    computed={
        "hidden_act": SILU,
        "attention_bias": (None, False),
        "mlp_bias": (None, False),
        "mamba_conv_bias": (None, True),
        "mamba_proj_bias": (None, False),
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
        "mamba_d_head": _d_head,
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
