"""XverseForCausalLM: XVERSE 7B and 13B. Llama's graph and tensors.

Source: conversion/xverse.py and src/models/xverse.cpp of the pinned llama.cpp; the config's defaults are those of the
models' own configuration_xverse.py.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, require_full_width, require_own_output
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the layout's name and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_tensor_data_layout("Meta AI original pth")
    writer.add_rope_dimension_count(head_dim(config))


def _check(config: Config) -> None:
    require_full_width(config)
    require_own_output(config)


FAMILY = Family(
    architectures=("XverseForCausalLM",),
    model_types=("xverse",),
    arch="xverse",
    computed={"hidden_act": SILU},
    defaults={
        "vocab_size": 100278,
        "hidden_size": 5120,
        "intermediate_size": 13824,
        "num_hidden_layers": 40,
        "num_attention_heads": 40,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
    },
    check=_check,
    tensors=Decoder(interleave=True).tensors,
    write_keys=write_keys,
)
