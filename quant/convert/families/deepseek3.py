"""DeepseekV3ForCausalLM, of which Moonlight-16B-A3B and GigaChat3-10B-A1.8B: DeepSeek-V2's tensors.

Experts are chosen by the sigmoid of their scores and a bias. Layers that predict further tokens are omitted.
Source: conversion/deepseek.py and src/models/deepseek2.cpp of the pinned llama.cpp.
"""

import msgspec

from quant.convert.families.base import n_heads, need
from quant.convert.families.deepseek2 import COMPUTED, tensors_with_bias
from quant.convert.families.deepseek2 import FAMILY as DEEPSEEK2

FAMILY = msgspec.structs.replace(
    DEEPSEEK2,
    architectures=("DeepseekV3ForCausalLM",),
    model_types=("deepseek_v3",),
    computed={
        **COMPUTED,
        "topk_method": (None, "noaux_tc"),
        "scoring_func": (None, "sigmoid"),
        "rope_interleave": (None, True),
        "norm_topk_prob": (None, True, False),
    },
    defaults={  # transformers' DeepseekV3Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 4096,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "first_k_dense_replace": 3,
        "kv_lora_rank": 512,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "num_experts_per_tok": 8,
        "n_group": 8,
        "topk_group": 4,
        "norm_topk_prob": True,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "head_dim": lambda config: need(config, "qk_rope_head_dim"),
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",  # llama.cpp would take softmax; the class has no other, and no setting
        "v_head_dim": 128,
        "moe_intermediate_size": 2048,
    },
    tensors=tensors_with_bias,
    extra_layers="num_nextn_predict_layers",
)
