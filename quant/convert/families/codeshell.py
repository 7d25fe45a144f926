"""CodeShellForCausalLM: CodeShell and Shell 7B. GPT-2's names, groups of queries, rotary positions.

A tied checkpoint may have the output matrix only; llama.cpp takes it for the embedding too. The config's defaults are
those of the models' own configuration_codeshell.py. Source: conversion/codeshell.py and src/models/codeshell.cpp of
the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import GELUS, Config, Family, is_tied, need, require_whole_heads
from quant.convert.families.gpt import EMBEDDING, OUTPUT, Gpt, write_gpt_keys
from quant.convert.families.planned import Planned

_THETA = 10000.0  # a constant of the model's code


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; of two tied matrices either may be missing, and llama.cpp needs the output."""
    tied = is_tied(config)
    for planned in Gpt(heads_kv="num_query_groups", positions=False).tensors(config):
        if planned.name == EMBEDDING:
            yield msgspec.structs.replace(planned, optional=tied)
        elif planned.name == OUTPUT:
            yield msgspec.structs.replace(planned, optional=False, instead=EMBEDDING if tied else None)
        else:
            yield planned


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add codeshell's keys; llama.cpp's converter takes every inner width for four times the model's."""
    write_gpt_keys(writer, config, file_type, heads_kv=need(config, "num_query_groups"))
    writer.add_rope_freq_base(_THETA)
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(1.0)


def _check(config: Config) -> None:
    require_whole_heads(need(config, "n_embd"), need(config, "n_head"))
    require_whole_heads(need(config, "n_head"), need(config, "num_query_groups"))


FAMILY = Family(
    architectures=("CodeShellForCausalLM",),
    model_types=("codeshell", "kclgpt"),
    arch="codeshell",
    computed={
        "activation_function": (None, *GELUS),
        "scale_attn_weights": (None, True),
        "group_query_attention": (None, True),
        "position_embedding_type": ("rope",),
        "rope_scaling": (None,),
    },
    defaults={
        "vocab_size": 70144,
        "n_positions": 8192,
        "n_embd": 4096,
        "n_layer": 42,
        "n_head": 32,
        "n_inner": lambda config: 4 * need(config, "n_embd"),
        "num_query_groups": 1,
        "layer_norm_epsilon": 1e-5,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    layers_key="n_layer",
    base_prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
