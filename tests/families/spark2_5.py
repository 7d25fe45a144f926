"""Spark X2.5: two rotary embeddings, windows in most layers, a gate per head, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

_KINDS = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]


def config(share: float = 0.25, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Spark X2.5: five layers, so that the fourth has no window."""
    fixed = {"layers": 5, "head_dim": 32, "epsilon": 1e-6, "tie": False}
    made = decoder_config("Spark2_5ForCausalLM", "spark2_5", **{**fixed, **shape})
    del made["rope_theta"]
    return made | {
        "hidden_act": "gelu",
        "gate_attn_act_mode": "sigmoid",
        "headwise_attn_output_gate": True,
        "sliding_window": 16,
        "layer_types": _KINDS,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 5000000.0, "partial_rotary_factor": share},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "partial_rotary_factor": 1.0},
        },
    }


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that no class of transformers computes."""
    return Variant(made, no_logits="no class has a gate for each head", **more)


VARIANTS = {
    "spark2_5-bf16": variant(config()),
    "spark2_5-f32": variant(config(hidden=48, heads=6, kv_heads=3, share=0.5), dtype="float32", shards=2),
    "spark2_5-tied-f16": variant(config(tie=True, kv_heads=4, head_dim=16), dtype="float16"),
}
