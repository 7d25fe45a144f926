"""GlmForCausalLM: GLM-4 and GLM-Edge as transformers has them. Half of each head rotates; gate and up are one matrix.

llama.cpp's converter reads the names of the first ChatGLM's config, which this class does not have, and so writes the
defaults of context, epsilon and rotary base. Source: conversion/chatglm.py of the pinned llama.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    head_dim,
    n_heads,
    need,
    number,
    refuse_unless,
    require_full_width,
    rope_parameters,
    rotary_dims,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_counts
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary

_END_OF_TEXT, _USER = b"<|endoftext|>", b"<|user|>"
SIZES = {
    "vocab_size": 151552,
    "hidden_size": 4096,
    "intermediate_size": 13696,
    "num_hidden_layers": 40,
    "num_attention_heads": 32,
}
DEFAULTS = {  # transformers' GlmConfig and Glm4Config (4.57)
    "num_key_value_heads": 2,
    "head_dim": 128,
    "attention_bias": True,
    "partial_rotary_factor": 0.5,
    "max_position_embeddings": 131072,
    "rms_norm_eps": 1.5625e-7,
    "rope_theta": 10000.0,
}
COMPUTED = {"hidden_act": SILU}


def tensors(config: Config, *norms: str) -> Iterator[Planned]:
    """Yield the config's tensors; `norms` are those of a layer beside the usual two."""
    norms = ("input_layernorm", "post_attention_layernorm", *norms)
    return Decoder(qkv_bias=bool(config["attention_bias"]), gated="fused", norms=norms).tensors(config)


def rotated_dims(config: Config) -> int:
    """Return the number of each head's dimensions that are rotated."""
    return rotary_dims(config, 0.5, head_dim(config))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the keys."""
    write_counts(writer, config, "context_length", "embedding_length", "feed_forward_length", "block_count")
    writer.add_head_count(n_heads(config))
    writer.add_head_count_kv(need(config, "num_key_value_heads"))
    writer.add_layer_norm_rms_eps(number(config, "rms_norm_eps"))
    writer.add_file_type(file_type)
    writer.add_rope_dimension_count(rotated_dims(config))
    writer.add_add_bos_token(False)
    writer.add_rope_freq_base(number(rope_parameters(config), "rope_theta"))


def with_ends(found: Vocabulary, **names: bytes) -> Vocabulary:
    """Set the ids of special tokens that the tokenizer's files do not name, by their texts."""
    ids = {text: token_id for token_id, text in enumerate(found.tokens.texts) if text in names.values()}
    for kind, text in names.items():
        if text in ids:
            found.special.special_token_ids.setdefault(kind, ids[text])
    return found


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, whose ends of texts and turns are known by their names."""
    return with_ends(load_vocabulary(folder, config, pre=pre), eos=_END_OF_TEXT, eot=_USER, unk=_END_OF_TEXT)


def vocabulary_with_bos(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary of GLM-4-0414, where the end of a text also begins one."""
    return with_ends(vocabulary(folder, config, pre), bos=_END_OF_TEXT)


def _check(config: Config) -> None:
    require_full_width(config)
    refuse_unless(rope_parameters(config), "rope_type", (None, "default"))


FAMILY = Family(
    architectures=("GlmForCausalLM",),
    model_types=("glm",),
    arch="chatglm",
    computed=COMPUTED,
    defaults=DEFAULTS,
    sizes=SIZES,
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    vocabulary=vocabulary,
)
