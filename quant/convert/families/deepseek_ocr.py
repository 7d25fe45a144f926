"""DeepseekOCRForCausalLM: the text model of DeepSeek-OCR, a small DeepSeek-V2 without latent attention.

The vision part is omitted. llama.cpp's architecture has a rotary base of 10000, and as many key heads as query heads.
Source: conversion/deepseek.py, src/models/deepseek2ocr.cpp and src/models/deepseek2.cpp of the pinned llama.cpp.
"""

import gguf

from quant.base.errors import UserError
from quant.convert.families.base import (
    SILU,
    Config,
    Family,
    n_head_kv,
    n_heads,
    need,
    number,
    refuse_unless,
    require_full_width,
    rope_parameters,
)
from quant.convert.families.decoder import Decoder
from quant.convert.families.deepseek2 import EXPERTS
from quant.convert.families.keys import write_common_keys

_TEMPLATE = "{% for m in messages %}{{m['content']}}{% endfor %}"  # the converter's, where the tokenizer has none


def early_keys(writer: gguf.GGUFWriter, config: Config) -> None:
    """Add the chat template, which the tokenizer's replaces."""
    writer.add_chat_template(_TEMPLATE)


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys and those of the experts."""
    write_common_keys(writer, config, file_type)
    writer.add_leading_dense_block_count(int(config["first_k_dense_replace"]))
    writer.add_vocab_size(need(config, "vocab_size"))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size"))
    writer.add_expert_count(need(config, "n_routed_experts"))
    writer.add_expert_shared_count(need(config, "n_shared_experts"))
    if config.get("routed_scaling_factor") is not None:
        writer.add_expert_weights_scale(number(config, "routed_scaling_factor"))
    if config.get("norm_topk_prob"):
        writer.add_expert_weights_norm(True)
    writer.add_rope_dimension_count(int(config["qk_rope_head_dim"]))


def _check(config: Config) -> None:
    require_full_width(config)
    if n_head_kv(config) != n_heads(config):
        raise UserError("config.json asks for fewer key heads than query heads, which llama.cpp's deepseek2-ocr lacks")
    refuse_unless(rope_parameters(config), "rope_theta", (None, 10000, 10000.0))


FAMILY = Family(
    architectures=("DeepseekOCRForCausalLM",),
    model_types=("deepseek_vl_v2",),
    arch="deepseek2-ocr",
    computed={
        "hidden_act": SILU,
        "use_mla": (False,),
        "topk_method": (None, "greedy"),
        "scoring_func": (None, "softmax"),
        "rope_scaling": (None,),
        "attention_bias": (None, False),
        "qk_rope_head_dim": (None, 0),
        **dict.fromkeys(("sliding_window", "sliding_window_size"), (None,)),
    },
    defaults={  # the repository's own DeepseekV2Config
        "rms_norm_eps": 1e-6,
        "first_k_dense_replace": 0,
        "qk_rope_head_dim": 0,
    },
    check=_check,
    early_keys=early_keys,
    tensors=Decoder(feed_forward=EXPERTS).tensors,
    write_keys=write_keys,
    omitted=(
        "model.sam_model.",
        "model.vision_model.",
        "model.projector.",
        "model.image_newline",
        "model.view_seperator",
    ),
)
