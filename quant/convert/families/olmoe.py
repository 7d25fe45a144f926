"""OlmoeForCausalLM: OLMoE-1B-7B. Experts, and norms of all queries and all keys together.

Source: conversion/olmo.py and src/models/olmoe.cpp of the pinned llama.cpp.
"""

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, n_head_kv, n_heads
from quant.convert.families.decoder import Decoder
from quant.convert.families.experts import Experts
from quant.convert.families.keys import write_common_keys


def _check_heads(config: Config) -> None:
    if n_head_kv(config) != n_heads(config):
        raise UserError(
            f"config.json has num_key_value_heads = {n_head_kv(config)}; llama.cpp's olmoe needs {n_heads(config)}, "
            "as many as heads: its norm of the keys is as wide as the model"
        )


FAMILY = Family(
    architectures=("OlmoeForCausalLM",),
    model_types=("olmoe",),
    arch="olmoe",
    computed={
        "hidden_act": SILU,
        "clip_qkv": (None,),
        "norm_topk_prob": (None, False),
        "attention_bias": (None, False),
        "tie_word_embeddings": (None, False),
    },
    defaults={  # transformers' OlmoeConfig (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "num_experts_per_tok": 8,
        "num_experts": 64,
    },
    sizes={
        "vocab_size": 50304,
        "hidden_size": 2048,
        "intermediate_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 16,
    },
    check=_check_heads,
    tensors=Decoder(qk_norms="row", feed_forward=Experts(n_ff="intermediate_size")).tensors,
    write_keys=write_common_keys,
)
