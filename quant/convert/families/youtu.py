"""YoutuForCausalLM: Youtu-LLM-2B. DeepSeek's latent attention without experts; Youtu-VL's text model is one too.

Source: conversion/deepseek.py and src/models/deepseek2.cpp of the pinned llama.cpp.
"""

import msgspec

from quant.convert.families.base import need
from quant.convert.families.deepseek2 import COMPUTED, tensors
from quant.convert.families.deepseek2 import FAMILY as DEEPSEEK2

FAMILY = msgspec.structs.replace(
    DEEPSEEK2,
    architectures=("YoutuForCausalLM", "YoutuVLForConditionalGeneration"),
    model_types=("youtu_llm", "youtu", "youtu_vl"),
    computed={**COMPUTED, "rope_interleave": (None, True), "n_routed_experts": (None,)},
    defaults={  # transformers' YoutuConfig (5.24)
        "num_key_value_heads": 16,
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-6,
        "rope_theta": 1600000,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "first_k_dense_replace": lambda config: need(config, "num_hidden_layers"),
    },
    tensors=tensors,
    omitted=("siglip2.", "merger."),
)
