"""Trinity: windows in three of four layers, dense layers first, shared experts, tied and not, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config


def config(*, n_dense: int = 1, n_shared: int = 1, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Trinity; `n_dense` layers have no experts."""
    experts = {
        "num_experts": 6,
        "num_shared_experts": n_shared,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "num_dense_layers": n_dense,
        "route_norm": True,
        "route_scale": 2.826,
        "score_func": "sigmoid",
        "global_attn_every_n_layers": 4,
        "sliding_window": 20,
        "mup_enabled": True,
        "n_group": 1,
        "topk_group": 1,
    }
    shape = {"tie": False, "head_dim": 32, "layers": 5, **shape}
    return decoder_config("AfmoeForCausalLM", "afmoe", **shape) | experts


VARIANTS = {
    "afmoe-bf16": Variant(config(), pre="qwen2", transformers=5),
    "afmoe-tied-f32": Variant(config(tie=True, n_dense=0, n_shared=2), dtype="float32", pre="qwen2", transformers=5),
    "afmoe-f16-sharded": Variant(
        config(n_dense=2, heads=2, kv_heads=1), dtype="float16", shards=3, pre="qwen2", transformers=5
    ),
}
