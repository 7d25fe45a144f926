"""DeciLMForCausalLM: DeciLM-7B. A Llama whose layers differ in their number of key and value heads.

Later models of this class lack the attention in some layers; the smallest has 49 billion parameters.
Source: conversion/deci.py of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.convert.families.base import Config, head_dim, need, need_list
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.planned import Planned


def _heads_kv(config: Config) -> list[int]:
    return need_list(config, "num_key_value_heads_per_layer", need(config, "num_hidden_layers"))


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    return Decoder(interleave=True).tensors(config, [{**config, "num_key_value_heads": n} for n in _heads_kv(config)])


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the heads of each layer, the vocabulary's size and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_head_count_kv(_heads_kv(config))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(head_dim(config))


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("DeciLMForCausalLM",),
    model_types=("deci", "deci_lm"),
    arch="deci",
    computed={**LLAMA.computed, "attention_bias": (None, False), "mlp_bias": (None, False), "block_configs": (None,)},
    # Of the LlamaConfig that comes with the models. Its rotary base is also llama.cpp's default, and needs no key.
    defaults={"max_position_embeddings": 2048, "rms_norm_eps": 1e-6},
    sizes={},
    tensors=tensors,
    write_keys=write_keys,
    space_prefix_key=False,
)
