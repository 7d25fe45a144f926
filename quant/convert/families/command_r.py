"""CohereForCausalLM: Aya 23, Aya Expanse, Command R. Attention and feed-forward in parallel after one norm.

Rotary halves alternate in the checkpoint too; the output is the embedding, scaled. Command R+ has norms of queries and
keys, which llama.cpp expects of 64 layers and more. Source: conversion/command_r.py and src/models/command-r.cpp of the
pinned llama.cpp.
"""

from typing import Any

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    first_of,
    n_heads,
    need,
    number,
    require_full_width,
    rope_parameters,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys

_PLUS_LAYERS = 64
COMPUTED: dict[str, tuple[Any, ...]] = {
    "hidden_act": SILU,
    "attention_bias": (None, False),
    "tie_word_embeddings": (None, True),
    "use_qk_norm": (None, False),
}
DEFAULTS: dict[str, Any] = {  # transformers' CohereConfig and Cohere2Config (4.57)
    "vocab_size": 256000,
    "hidden_size": 8192,
    "intermediate_size": 22528,
    "num_hidden_layers": 40,
    "num_attention_heads": 64,
    "num_key_value_heads": n_heads,
    "max_position_embeddings": 8192,
    "layer_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "logit_scale": 0.0625,
    "tie_word_embeddings": True,
}
TENSORS = Decoder(norms=("input_layernorm",), head=False).tensors
IGNORED = ("lm_head.weight",)  # the embedding, where it is saved twice


def _longest(config: Config) -> Config:
    """Let model_max_length override the number of positions, which is less than these models were trained for."""
    longest = first_of(config, "model_max_length", "max_position_embeddings")
    return config if longest is None else {**config, "max_position_embeddings": longest}


def refuse_scaled_rope(config: Config) -> None:
    """Refuse rope scaling, which llama.cpp's converter switches off, and heads of another width.

    Raises:
        UserError: the config has either.
    """
    kind = rope_parameters(config).get("rope_type")
    if kind not in (None, "default"):
        raise UserError(f"config.json asks for the rope scaling '{kind}', which is not supported for this family")
    require_full_width(config)


def _check(config: Config) -> None:
    refuse_scaled_rope(config)
    if need(config, "num_hidden_layers") >= _PLUS_LAYERS:
        raise UserError(
            f"config.json asks for {_PLUS_LAYERS} layers or more, of which llama.cpp expects use_qk_norm; "
            "choose another model"
        )


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and the logits' scale."""
    write_common_keys(writer, config, file_type)
    writer.add_logit_scale(number(config, "logit_scale"))
    writer.add_rope_scaling_type(gguf.RopeScalingType.NONE)


FAMILY = Family(
    architectures=("CohereForCausalLM",),
    model_types=("cohere",),
    arch="command-r",
    adapt=_longest,
    computed=COMPUTED,
    defaults=DEFAULTS,
    check=_check,
    tensors=TENSORS,
    write_keys=write_keys,
    ignored=IGNORED,
)
