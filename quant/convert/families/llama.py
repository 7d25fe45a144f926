"""LlamaForCausalLM: Llama, SmolLM, TinyLlama and all that share their class.

Source: conversion/llama.py of the pinned llama.cpp; the rope factors of Llama 3.1 and later are in its
generate_extra_tensors and in transformers' modeling_rope_utils.
"""

import math
from collections.abc import Iterator
from typing import Any

import gguf
import numpy as np

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    ExtraTensors,
    Family,
    as_number,
    head_dim,
    n_heads,
    need,
    rope_parameters,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.families.planned import Planned
from quant.convert.families.torch_power import F32, torch_power
from quant.convert.tokenizer.vocabulary import Vocabulary

_NO_BOS_VOCAB = 49152  # a vocabulary of Granite and SmolLM whose tokenizers add no BOS


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors, with attention and feed-forward biases where it has them."""
    attention, mlp = bool(config.get("attention_bias", False)), bool(config.get("mlp_bias", False))
    return Decoder(qkv_bias=attention, output_bias=attention, mlp_bias=mlp, interleave=True).tensors(config)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, the vocabulary's size and the rotary dimensions."""
    write_common_keys(writer, config, file_type)
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_rope_dimension_count(head_dim(config))


def extra_tensors(config: Config) -> ExtraTensors:
    """Return the factors by which Llama 3.1's rope scaling divides each frequency: (head_dim / 2,) float32."""
    rope = rope_parameters(config)
    if str(rope.get("rope_type", "")).lower() != "llama3":
        return {}
    size = head_dim(config)
    # float32 step by step, as torch computes it: the factors are compared byte for byte. A number divided by a tensor
    # is there the tensor's reciprocal times the number.
    exponents = np.arange(0, size, 2, dtype=F32) / F32(size)
    frequencies = F32(1.0) / torch_power(_positive(rope, "rope_theta", 10000.0), exponents)
    factor = _positive(rope, "factor", 8.0)
    low, high = _positive(rope, "low_freq_factor", 1.0), _positive(rope, "high_freq_factor", 4.0)
    old_length = _positive(rope, "original_max_position_embeddings", 8192)
    if not low < high:
        raise UserError(f"config.json has low_freq_factor = {low}, which must be less than high_freq_factor = {high}")
    factors = []
    for frequency in frequencies:
        wavelength = F32(1.0) / frequency * F32(2 * math.pi)
        if wavelength < F32(old_length / high):
            factors.append(1.0)
        elif wavelength > F32(old_length / low):
            factors.append(factor)
        else:
            smooth = (F32(1.0) / wavelength * F32(old_length) - F32(low)) / F32(high - low)
            slowed = (F32(1.0) - smooth) / F32(factor) + smooth
            factors.append(float(F32(1.0) / slowed))
    return {"rope_freqs.weight": np.array(factors, dtype=np.float32)}


def _positive(rope: dict[str, Any], key: str, default: float) -> float:
    value = float(as_number(rope.get(key, default), key))
    if value <= 0:
        raise UserError(f"config.json has {key} = {value}, which must be a positive number")
    return value


def vocabulary_keys(writer: gguf.GGUFWriter, config: Config, vocabulary: Vocabulary) -> None:
    """Disable BOS for vocabularies of one size, as llama.cpp's converter does, unless the tokenizer adds it."""
    if config.get("vocab_size") == _NO_BOS_VOCAB and not vocabulary.adds_bos:
        writer.add_add_bos_token(False)


FAMILY = Family(
    architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
    model_types=("llama",),
    arch="llama",
    computed={"hidden_act": SILU},
    defaults={  # transformers' LlamaConfig (4.57)
        "num_key_value_heads": n_heads,
        "head_dim": lambda config: need(config, "hidden_size") // n_heads(config),
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
    },
    sizes={
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
    },
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
    vocabulary_keys=vocabulary_keys,
    space_prefix_key=True,
)
