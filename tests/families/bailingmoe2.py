"""Ling-mini: groups of experts, partly rotated heads, shared experts, dense layers, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.deepseek import NO_CLASS
from tests.support.checkpoints import decoder_config


def config(*, n_dense: int = 1, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Ling-mini; `n_dense` layers have no experts."""
    experts = {
        "num_experts": 8,
        "num_shared_experts": 1,
        "num_experts_per_tok": 3,
        "moe_intermediate_size": 48,
        "moe_shared_expert_intermediate_size": 48,
        "first_k_dense_replace": n_dense,
        "n_group": 4,
        "topk_group": 2,
        "norm_topk_prob": True,
        "routed_scaling_factor": 2.5,
        "score_function": "sigmoid",
        "moe_router_enable_expert_bias": True,
        "partial_rotary_factor": 0.5,
        "use_bias": False,
        "use_qkv_bias": False,
        "use_qk_norm": True,
        "num_nextn_predict_layers": 0,
    }
    return decoder_config("BailingMoeV2ForCausalLM", "bailing_moe_v2", **{"tie": False, **shape}) | experts


def _without(made: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key not in keys}


VARIANTS = {
    "bailingmoe2-bf16": Variant(config(head_dim=16), no_logits=NO_CLASS),
    "bailingmoe2-f32-no-groups": Variant(
        config(n_dense=0) | {"n_group": 1, "topk_group": 1, "partial_rotary_factor": 1.0},
        dtype="float32",
        no_logits=NO_CLASS,
    ),
    "bailingmoe2-f16-sharded": Variant(
        _without(config(layers=3, kv_heads=1), "num_nextn_predict_layers", "partial_rotary_factor"),
        dtype="float16",
        shards=3,
        no_logits=NO_CLASS,
    ),
    "bailingmoe2-two-shared": Variant(
        _without(config(), "moe_shared_expert_intermediate_size") | {"num_shared_experts": 2},
        own_keys=("bailingmoe2.expert_shared_feed_forward_length",),
        no_logits=NO_CLASS,
    ),
}
