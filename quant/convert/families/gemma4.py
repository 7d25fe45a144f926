"""Gemma4ForCausalLM and the text model of Gemma4ForConditionalGeneration: Gemma 4 E2B, E4B and 31B.

Gemma 3's norms and windows; layers without a window have larger heads, of which a part is rotated, and may take their
keys as values. The small members have an embedding of each token for each layer, and last layers that use the keys and
values of earlier ones. The vision and audio parts are omitted; the model with experts has 26 billion parameters.
Source: conversion/gemma.py and src/models/gemma4.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator
from pathlib import Path

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import Config, ExtraTensors, Family, need, number
from quant.convert.families.decoder import Decoder
from quant.convert.families.gemma2 import NORMS
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.per_layer import check_shared, embeddings, keys_optional, shared_layers
from quant.convert.families.planned import Planned
from quant.convert.families.window_kinds import (
    FULL,
    WINDOWED,
    check_kinds,
    full_heads,
    proportional_factors,
    rope_of,
    sizes_by_layer,
)
from quant.convert.tokenizer.raw_bpe import raw_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary

_PATTERN = 6  # layers of a group whose last one has no window
_ROPE = {
    FULL: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
    WINDOWED: {"rope_type": "default", "rope_theta": 10000.0},
}


def _widths(config: Config) -> list[int]:
    """Return the width of each layer's feed-forward part."""
    n_layers, n_ff = need(config, "num_hidden_layers"), need(config, "intermediate_size")
    n_wide = shared_layers(config) if config.get("use_double_wide_mlp") else 0
    return [n_ff] * (n_layers - n_wide) + [2 * n_ff] * n_wide


def _per_layer(config: Config) -> int:
    """Return the size of each layer's embedding of a token; 0 without."""
    return need(config, "hidden_size_per_layer_input") if config["hidden_size_per_layer_input"] else 0


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    windows = window_layers(config, _PATTERN)
    as_values = {layer for layer, windowed in enumerate(windows) if config.get("attention_k_eq_v") and not windowed}
    absent = {f"model.layers.{layer}.self_attn.v_proj.weight" for layer in as_values}
    decoder = Decoder(norms=NORMS, qk_norms="head", spare_rows=True)
    planned = decoder.tensors(config, sizes_by_layer(config, windows, _widths(config)))
    yield from keys_optional(config, (each for each in planned if each.name not in absent))
    for layer in range(len(windows)):
        name = f"model.layers.{layer}.layer_scalar"
        yield Planned(name=name, shape=(1,), target=f"blk.{layer}.layer_output_scale.weight")
    if size := _per_layer(config):
        yield from embeddings(config, size)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Gemma 3's keys, and those of the two kinds of layers and of the shared ones.

    Without the cap of the logits, llama.cpp would cap them by 30.
    """
    windows = window_layers(config, _PATTERN)
    full, size = full_heads(config, windows), need(config, "head_dim")
    usual = need(config, "num_key_value_heads")
    thetas = {kind: {"rope_theta": rope_of(config, kind).get("rope_theta")} for kind in _ROPE}
    write_common_keys(writer, {**config, "rope_parameters": thetas}, file_type)
    writer.add_final_logit_softcapping(number(config, "final_logit_softcapping"))
    writer.add_sliding_window(need(config, "sliding_window"))
    writer.add_shared_kv_layers(shared_layers(config))
    writer.add_embedding_length_per_layer_input(_per_layer(config))
    writer.add_sliding_window_pattern(windows)
    writer.add_key_length(full.size)
    writer.add_value_length(full.size)
    writer.add_key_length_swa(size)
    writer.add_value_length_swa(size)
    if config.get("use_double_wide_mlp"):
        writer.add_feed_forward_length(_widths(config))
    if config.get("num_global_key_value_heads") is not None or full.n_kv != usual:
        writer.add_head_count_kv([usual if windowed else full.n_kv for windowed in windows])
    writer.add_rope_dimension_count(full.size)
    writer.add_rope_dimension_count_swa(size)


def extra_tensors(config: Config) -> ExtraTensors:
    """Return what divides the frequencies of layers without a window."""
    full = full_heads(config, window_layers(config, _PATTERN))
    return {"rope_freqs.weight": proportional_factors(config, full.size)}


def _check(config: Config) -> None:
    windows = window_layers(config, _PATTERN)
    if windows[-1]:
        raise UserError(
            "config.json has a last layer with a window; llama.cpp's gemma4 needs one without; choose another model"
        )
    check_shared(config, windows)
    check_kinds(config, windows)


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary, which llama.cpp merges as written, by the ranks of the merges."""
    return raw_vocabulary(folder, config, "gemma4", pre)


FAMILY = Family(
    architectures=("Gemma4ForConditionalGeneration", "Gemma4ForCausalLM"),
    model_types=("gemma4_text", "gemma4"),
    arch="gemma4",
    base_prefix="model.",
    computed={
        "hidden_activation": (None, "gelu_pytorch_tanh"),
        "attention_bias": (None, False),
        "use_bidirectional_attention": (None, "vision"),  # of images, whose tokens are not here
        "enable_moe_block": (None, False),
    },
    defaults={  # transformers' Gemma4TextConfig (5.24)
        "vocab_size": 262144,
        "vocab_size_per_layer_input": 262144,
        "hidden_size": 2304,
        "hidden_size_per_layer_input": 256,
        "intermediate_size": 9216,
        "num_hidden_layers": 30,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "num_kv_shared_layers": 0,
        "head_dim": 256,
        "global_head_dim": 512,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_parameters": _ROPE,
        "sliding_window": 512,
        "final_logit_softcapping": 0.0,
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
    vocabulary=vocabulary,
)
