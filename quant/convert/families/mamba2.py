"""Mamba2ForCausalLM, such as Mamba Codestral: state space layers with heads, and nothing else.

Source: conversion/mamba.py and src/models/mamba2.cpp of the pinned llama.cpp.
"""

import math
from collections.abc import Iterator

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, need, number
from quant.convert.families.mamba import around, write_first_keys
from quant.convert.families.planned import Planned
from quant.convert.families.state_space import Mamba2, vocabulary_in_steps

# Time steps are not limited.
NO_LIMIT = (None, [0.0, math.inf], [0, math.inf], [0.0, "inf"])
_STEP = 16  # of the vocabulary


def _sizes(config: Config) -> Mamba2:
    n_heads = need(config, "num_heads")
    return Mamba2(
        n_embd=need(config, "hidden_size"),
        n_inner=n_heads * need(config, "head_dim"),
        n_state=need(config, "state_size"),
        n_conv=need(config, "conv_kernel"),
        n_heads=n_heads,
        n_groups=need(config, "n_groups"),
    )


def _check(config: Config) -> None:
    n_inner, wanted = _sizes(config).n_inner, need(config, "expand") * need(config, "hidden_size")
    if n_inner != wanted:
        raise UserError(
            f"config.json asks for {config['num_heads']} heads of {config['head_dim']} values, which are not "
            f"expand = {config['expand']} times hidden_size = {config['hidden_size']}"
        )


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from around(config)
    sizes = _sizes(config)
    for layer in range(need(config, "num_hidden_layers")):
        block = f"backbone.layers.{layer}"
        yield Planned(name=f"{block}.norm.weight", shape=(sizes.n_embd,))
        yield from sizes.tensors(f"{block}.mixer", layer)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add mamba2's keys."""
    write_first_keys(writer, config)
    _sizes(config).write_keys(writer)
    writer.add_layer_norm_rms_eps(number(config, "layer_norm_epsilon"))
    writer.add_file_type(file_type)


FAMILY = Family(
    architectures=("Mamba2ForCausalLM",),
    model_types=("mamba2",),
    arch="mamba2",
    adapt=lambda config: vocabulary_in_steps(_STEP, config),
    computed={
        "hidden_act": SILU,
        "use_bias": (None, False),
        "use_conv_bias": (None, True),
        "rms_norm": (None, True),
        "time_step_limit": NO_LIMIT,
    },
    defaults={  # transformers' Mamba2Config (4.57)
        "vocab_size": 32768,
        "hidden_size": 4096,
        "num_heads": 128,
        "head_dim": 64,
        "state_size": 128,
        "num_hidden_layers": 64,
        "layer_norm_epsilon": 1e-5,
        "conv_kernel": 4,
        "expand": 2,
        "n_groups": 8,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
)
