"""IQuestCoderForCausalLM: IQuest-Coder V1. A Llama whose own code could also clip queries and slide a window.

Source: conversion/llama.py of the pinned llama.cpp.
"""

import msgspec

from quant.convert.families.base import usual_head_dim
from quant.convert.families.llama import FAMILY as LLAMA

FAMILY = msgspec.structs.replace(
    LLAMA,
    architectures=("IQuestCoderForCausalLM",),
    model_types=("iquestcoder",),
    computed={**LLAMA.computed, "clip_qkv": (None,), "use_sliding_window": (None, False)},
    defaults={  # transformers' IQuestCoderConfig (5.24)
        "num_key_value_heads": 8,
        "head_dim": usual_head_dim(128),
        "max_position_embeddings": 131072,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
    },
    sizes={},
)
