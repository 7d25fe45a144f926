"""SmolLM3ForCausalLM: llama's tensors and keys; every fourth layer has no rotary embedding, which llama.cpp implements.

Source: conversion/llama.py of the pinned llama.cpp, and load_arch_hparams in its src/models/smollm3.cpp.
"""

import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import Config, need
from quant.convert.families.decoder import Decoder
from quant.convert.families.llama import FAMILY as LLAMA

_INTERVAL = 4


def _require_usual_pattern(config: Config) -> None:
    n_layers, interval = need(config, "num_hidden_layers"), need(config, "no_rope_layer_interval")
    usual = [int((layer + 1) % _INTERVAL != 0) for layer in range(n_layers)]
    requested = config.get("no_rope_layers") or [int((layer + 1) % interval != 0) for layer in range(n_layers)]
    if requested != usual:
        raise UserError(
            f"config.json has no_rope_layers = {str(requested)[:80]}; llama.cpp's smollm3 has no rotary embedding in "
            "every fourth layer, and in no other"
        )


FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("SmolLM3ForCausalLM",),
    model_types=("smollm3",),
    arch="smollm3",
    defaults={  # transformers' SmolLM3Config (4.57), which ties the embeddings
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_theta": 2000000.0,
        "tie_word_embeddings": True,
        "no_rope_layer_interval": _INTERVAL,
    },
    sizes={
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
    },
    check=_require_usual_pattern,
    tensors=Decoder(interleave=True).tensors,  # llama.cpp's graph has no biases
)
