"""OrionForCausalLM: Orion 14B. Llama's tensors and, whatever its config calls their epsilon, LayerNorms with biases.

Source: conversion/orion.py and src/models/orion.cpp of the pinned llama.cpp; the config's defaults are those of the
models' own configuration_orion.py.
"""

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    first_of,
    n_head_kv,
    n_heads,
    number,
    require_full_width,
    require_own_output,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_counts, write_unusual_rope_keys


def _renamed(config: Config) -> Config:
    """Rename the length that these models' configs name before all others."""
    length = first_of(config, "max_sequence_length", "max_position_embeddings", "model_max_length")
    return config if length is None else {**config, "max_position_embeddings": length}


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add orion's keys, the file type first."""
    writer.add_file_type(file_type)
    writer.add_tensor_data_layout("Meta AI original pth")
    write_counts(
        writer, config, "context_length", "embedding_length", "block_count", "feed_forward_length", "head_count"
    )
    writer.add_head_count_kv(n_head_kv(config))
    writer.add_layer_norm_eps(number(config, "rms_norm_eps"))
    write_unusual_rope_keys(writer, config)


def _check(config: Config) -> None:
    require_full_width(config)
    require_own_output(config)


FAMILY = Family(
    architectures=("OrionForCausalLM",),
    model_types=("orion",),
    arch="orion",
    adapt=_renamed,
    computed={"hidden_act": SILU, **dict.fromkeys(("attention_bias", "mlp_bias"), (None, False))},
    defaults={
        "vocab_size": 84608,
        "hidden_size": 4096,
        "intermediate_size": 15360,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    check=_check,
    tensors=Decoder(norm_bias=True).tensors,
    write_keys=write_keys,
)
