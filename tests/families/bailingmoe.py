"""Ling-lite: numbers of experts, scores normed and not, heads wider than the model, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.deepseek import NO_CLASS
from tests.support.checkpoints import decoder_config


def config(*, n_shared: int = 2, normed: bool = True, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Ling-lite."""
    experts = {
        "num_experts": 6,
        "num_shared_experts": n_shared,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "first_k_dense_replace": 0,
        "norm_topk_prob": normed,
        "norm_head": False,
        "norm_softmax": False,
        "use_bias": False,
        "use_qkv_bias": False,
    }
    return decoder_config("BailingMoeForCausalLM", "bailing_moe", **{"tie": False, **shape}) | experts


VARIANTS = {
    "bailingmoe-bf16": Variant(config(), no_logits=NO_CLASS),
    "bailingmoe-f32": Variant(config(n_shared=1, normed=False, kv_heads=4), dtype="float32", no_logits=NO_CLASS),
    "bailingmoe-f16-sharded": Variant(config(layers=3, head_dim=32), dtype="float16", shards=3, no_logits=NO_CLASS),
}
