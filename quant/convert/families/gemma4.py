"""Gemma4ForCausalLM and the text model of Gemma4ForConditionalGeneration: Gemma 4 E2B, E4B and 31B.

Gemma 3's norms and windows; layers without a window have larger heads, of which a part is rotated, and may take their
keys as values. The small members have an embedding of each token for each layer, and last layers that use the keys and
values of earlier ones. The vision and audio parts are omitted; the model with experts has 26 billion parameters.
Source: conversion/gemma.py and src/models/gemma4.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gguf
import msgspec
import numpy as np

from quant.base.errors import UserError
from quant.convert.families.base import (
    Config,
    ExtraTensors,
    Family,
    need,
    number,
    refuse_unless,
    rope_parameters,
    rotary_dims,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.gemma2 import NORMS
from quant.convert.families.keys import window_layers, write_common_keys
from quant.convert.families.per_layer import check_shared, embeddings, shared_layers
from quant.convert.families.planned import Planned
from quant.convert.tokenizer.raw_bpe import raw_vocabulary
from quant.convert.tokenizer.vocabulary import Vocabulary

_PATTERN = 6  # layers of a group whose last one has no window
_STILL = 1e30  # by which the frequencies of values that do not rotate are divided
_LEAST_OWN = 2  # layers with keys and values of their own
_ROPE = {
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
_DECODER = Decoder(norms=NORMS, qk_norms="head")


class _Full(NamedTuple):
    """The heads of layers without a window."""

    size: int
    n_kv: int


def _full(config: Config) -> _Full:
    """Return the heads of layers without a window, from either form of the config.

    Raises:
        UserError: other layers, or not all of these, have sizes of their own.
    """
    usual, by_layer = need(config, "num_key_value_heads"), config.get("per_layer_config")
    if by_layer is None:
        has_own = config.get("attention_k_eq_v") and config.get("num_global_key_value_heads") is not None
        n_kv = need(config, "num_global_key_value_heads") if has_own else usual
        return _Full(need(config, "global_head_dim"), n_kv)
    expected = {str(layer) for layer, windowed in enumerate(window_layers(config, _PATTERN)) if not windowed}
    found = {str(key): each for key, each in by_layer.items()} if isinstance(by_layer, dict) else {}
    first = next(iter(found.values()), None)
    if found.keys() != expected or any(each != first for each in found.values()) or not isinstance(first, dict):
        raise UserError(
            f"config.json has per_layer_config = {str(by_layer)[:80]}; llama.cpp's gemma4 has one size of head for all "
            "layers without a window, and another for the others; choose another model"
        )
    return _Full(need(first, "head_dim", need(config, "head_dim")), need(first, "num_key_value_heads", usual))


def _widths(config: Config) -> list[int]:
    """Return the width of each layer's feed-forward part."""
    n_layers, n_ff = need(config, "num_hidden_layers"), need(config, "intermediate_size")
    n_wide = shared_layers(config) if config.get("use_double_wide_mlp") else 0
    return [n_ff] * (n_layers - n_wide) + [2 * n_ff] * n_wide


def _per_layer(config: Config) -> int:
    """Return the size of each layer's embedding of a token; 0 without."""
    size = config.get("hidden_size_per_layer_input")
    return need(config, "hidden_size_per_layer_input") if size else 0


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    n_layers, windows = need(config, "num_hidden_layers"), window_layers(config, _PATTERN)
    for planned in _DECODER.tensors(config, _by_layer(config)):
        block, _, part = planned.name.partition(".self_attn.")
        layer = int(block.rpartition(".")[2]) if part else 0
        is_shared = bool(part) and layer >= n_layers - shared_layers(config)
        if part == "v_proj.weight" and config.get("attention_k_eq_v") and not windows[layer]:
            continue
        yield msgspec.structs.replace(
            planned,
            cut=planned.name == "model.embed_tokens.weight",
            # Checkpoints may have keys and values that no layer uses.
            optional=planned.optional or (is_shared and part.startswith(("k_", "v_"))),
        )
    for layer in range(n_layers):
        name = f"model.layers.{layer}.layer_scalar"
        yield Planned(name=name, shape=(1,), target=f"blk.{layer}.layer_output_scale.weight")
    if size := _per_layer(config):
        yield from embeddings(config, size)


def _by_layer(config: Config) -> list[Config]:
    """Return the sizes of each layer."""
    full, widths = _full(config), _widths(config)
    own: dict[bool, Config] = {True: {}, False: {"head_dim": full.size, "num_key_value_heads": full.n_kv}}
    return [
        {**config, **own[windowed], "intermediate_size": width}
        for windowed, width in zip(window_layers(config, _PATTERN), widths, strict=True)
    ]


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add Gemma 3's keys, and those of the two kinds of layers and of the shared ones.

    Without the cap of the logits, llama.cpp would cap them by 30.
    """
    windows, full, size = window_layers(config, _PATTERN), _full(config), need(config, "head_dim")
    usual = need(config, "num_key_value_heads")
    thetas = {kind: {"rope_theta": _rope(config, kind).get("rope_theta")} for kind in _ROPE}
    write_common_keys(writer, {**config, "rope_parameters": thetas}, file_type)
    has_cap = config.get("final_logit_softcapping") is not None
    writer.add_final_logit_softcapping(number(config, "final_logit_softcapping") if has_cap else 0.0)
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


def _rope(config: Config, kind: str) -> dict[str, Any]:
    found = rope_parameters(config).get(kind)
    if not isinstance(found, dict):
        raise UserError(f"config.json has no settings of rope_parameters for {kind}")
    return found


def extra_tensors(config: Config) -> ExtraTensors:
    """Return the factors by which the frequencies of layers without a window are divided: (head_dim / 2,) float32."""
    size = _full(config).size
    n_turned = rotary_dims({"rope_parameters": _rope(config, "full_attention")}, 1.0, size) // 2
    factors = np.full(size // 2, _STILL, np.float32)
    factors[:n_turned] = 1.0
    return {"rope_freqs.weight": factors}


def _check(config: Config) -> None:
    windows = window_layers(config, _PATTERN)
    if len(windows) - shared_layers(config) < _LEAST_OWN or windows[-1]:
        raise UserError(
            f"config.json has {len(windows)} layers of which {shared_layers(config)} are shared; llama.cpp's gemma4 "
            f"needs {_LEAST_OWN} that are not, and a last one without a window; choose another model"
        )
    check_shared(config, windows)
    _full(config)
    refuse_unless(_rope(config, "full_attention"), "rope_type", ("proportional",))
    refuse_unless(_rope(config, "full_attention"), "factor", (None, 1.0))
    refuse_unless(_rope(config, "sliding_attention"), "rope_type", (None, "default"))


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
        "tie_word_embeddings": True,
    },
    check=_check,
    tensors=tensors,
    write_keys=write_keys,
    extra_tensors=extra_tensors,
    vocabulary=vocabulary,
)
