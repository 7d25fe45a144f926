"""Gemma 2: caps low enough and windows short enough to matter, each type."""

from typing import Any

from tests.families import Variant
from tests.families.gemma import F16_TOLERANCE
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Gemma 2."""
    made = decoder_config("Gemma2ForCausalLM", "gemma2", **{"head_dim": 32, "layers": 3, "tokenizer": "spm", **shape})
    return made | {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 32,
        "sliding_window": 16,
        "attn_logit_softcapping": 0.2,
        "final_logit_softcapping": 1.0,
    }


VARIANTS = {
    "gemma2-bf16": Variant(config(), tokenizer="spm"),
    "gemma2-f16-sharded": Variant(
        config(heads=3, kv_heads=1), dtype="float16", shards=3, tokenizer="spm", tolerance=F16_TOLERANCE
    ),
    "gemma2-f32-transformers5": Variant(
        as_transformers5(config(head_dim=16, kv_heads=4))
        | {
            "query_pre_attn_scalar": 16,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        },
        dtype="float32",
        tokenizer="spm",
    ),
    "gemma2-rope-base": Variant(config(rope_theta=500.0), tokenizer="spm", own_keys=("gemma2.rope.freq_base",)),
    "gemma2-other-windows": Variant(
        config() | {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
        tokenizer="spm",
        own_keys=("gemma2.attention.sliding_window_pattern",),
    ),
    "gemma2-head-ignored": Variant(
        config(),
        tokenizer="spm",
        no_logits="it loads the head, which Gemma 2 does not have, over the embedding",
        more_tensors={"lm_head.weight": (512, 64)},
    ),
}
