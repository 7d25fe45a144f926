"""PanguEmbeddedForCausalLM: openPangu Embedded. Llama's computation, with biases in the attention.

Source: conversion/pangu.py of the pinned llama.cpp; load_arch_tensors in its src/models/pangu-embed.cpp requires the
bias of the attention's output.
"""

import gguf

from quant.convert.families.base import SILU, Config, Family, head_dim, n_heads, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.ernie4_5 import vocabulary
from quant.convert.families.keys import write_common_keys


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the vocabulary's size and the size of a head, which configs of this family omit."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(head_dim(config))
    if config.get("head_dim") is None:
        writer.add_key_length(head_dim(config))
        writer.add_value_length(head_dim(config))


FAMILY = Family(
    architectures=("PanguEmbeddedForCausalLM",),
    model_types=("PanguEmbedded",),
    arch="pangu-embedded",
    computed={"hidden_act": SILU, "bias": (None, True)},
    defaults={  # configuration_openpangu_dense.py of FreedomIntelligence/openPangu-Embedded-7B-V1.1
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-5,
        "rope_theta": 16000000.0,
    },
    tensors=Decoder(qkv_bias=True, output_bias=True).tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
)
