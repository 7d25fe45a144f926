"""Ernie4_5ForCausalLM: the dense ERNIE 4.5. Rotary halves alternate in the checkpoint as they do in llama.cpp.

Source: conversion/ernie.py of the pinned llama.cpp; its src/models/ernie4-5.cpp adds no bias of the attention's output
nor of the feed-forward part.
"""

from pathlib import Path

from quant.convert.families.base import SILU, Config, Family, usual_head_dim
from quant.convert.families.decoder import Decoder
from quant.convert.families.keys import write_common_keys
from quant.convert.tokenizer.vocabulary import Vocabulary, load_vocabulary


def vocabulary(folder: Path, config: Config, pre: str | None) -> Vocabulary:
    """Read the vocabulary; add_space_prefix is the last of its keys."""
    found = load_vocabulary(folder, config, pre=pre, space_prefix_key=True)
    if found.add_space_prefix is not None:
        found.last = {"add_space_prefix": found.add_space_prefix}
        found.add_space_prefix = None
    return found


FAMILY = Family(
    architectures=("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"),
    model_types=("ernie4_5",),
    arch="ernie4_5",
    computed={"hidden_act": SILU, "use_bias": (None, False)},
    defaults={  # transformers' Ernie4_5Config (4.57)
        "num_key_value_heads": 2,
        "head_dim": usual_head_dim(128),
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 500000.0,
        "tie_word_embeddings": True,
    },
    sizes={
        "vocab_size": 103424,
        "hidden_size": 1024,
        "intermediate_size": 3072,
        "num_hidden_layers": 18,
        "num_attention_heads": 16,
    },
    tensors=Decoder().tensors,
    write_keys=write_common_keys,
    vocabulary=vocabulary,
)
