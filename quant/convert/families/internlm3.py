"""InternLM3ForCausalLM: InternLM 3 8B. Llama's graph and keys, and another way to write its vocabulary.

Source: conversion/internlm.py of the pinned llama.cpp, which writes the architecture llama; the config's defaults are
those of the models' own configuration_internlm3.py.
"""

from collections.abc import Iterator
from pathlib import Path

import msgspec

from quant.convert.families.base import SILU, Config, n_heads
from quant.convert.families.decoder import Decoder
from quant.convert.families.internlm2 import with_turns
from quant.convert.families.llama import FAMILY as LLAMA
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors; `bias` is that of the output projection and the feed-forward part."""
    bias = bool(config["bias"])
    return Decoder(qkv_bias=bool(config["qkv_bias"]), output_bias=bias, mlp_bias=bias, interleave=True).tensors(config)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, whose eos is the token that ends a turn."""
    return with_turns(load_vocabulary(folder, config, pre=pre, space_prefix_key=True), folder, special=True)


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("InternLM3ForCausalLM",),
    model_types=("internlm3",),
    computed={
        "hidden_act": SILU,
        **dict.fromkeys(("bias", "qkv_bias"), (None, True, False)),
        **dict.fromkeys(("attention_bias", "mlp_bias"), (None, False)),  # llama's names
    },
    defaults={
        "vocab_size": 128512,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "bias": False,
        "qkv_bias": False,
    },
    sizes={},
    tensors=tensors,
    vocabulary=vocabulary,
)
