"""Qwen3's experts: a matrix per expert and all in one tensor, tied and not, wide heads, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

NO_LOGITS = "it reads a matrix per expert"
EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48, "norm_topk_prob": True}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen3 with experts."""
    shape = {"head_dim": 32, "rope_theta": 1000000.0, "tie": False, **shape}
    return decoder_config("Qwen3MoeForCausalLM", "qwen3_moe", **shape) | EXPERTS


VARIANTS = {
    "qwen3moe-bf16": Variant(config(), pre="qwen2"),
    "qwen3moe-tied-f32": Variant(config(tie=True, heads=3, kv_heads=1), dtype="float32", pre="qwen2"),
    "qwen3moe-f16-sharded": Variant(config(head_dim=16, kv_heads=4), dtype="float16", shards=3, pre="qwen2"),
    "qwen3moe-merged": Variant(config(), merged=True, pre="qwen2", no_logits=NO_LOGITS),
    "qwen3moe-transformers5": Variant(as_transformers5(config(rope_theta=10000.0)), pre="qwen2"),
}
