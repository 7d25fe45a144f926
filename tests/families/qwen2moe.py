"""Qwen2's experts and the one that computes every token: merged and not, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.families.qwen3moe import NO_LOGITS
from tests.support.checkpoints import as_transformers5, decoder_config

EXPERTS = {
    "num_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 48,
    "shared_expert_intermediate_size": 96,
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen2 with experts."""
    return decoder_config("Qwen2MoeForCausalLM", "qwen2_moe", **{"tie": False, **shape}) | EXPERTS


VARIANTS = {
    "qwen2moe-bf16": Variant(config(), pre="qwen2"),
    "qwen2moe-f32": Variant(config(heads=2, kv_heads=1, layers=3), dtype="float32", pre="qwen2"),
    "qwen2moe-f16-sharded": Variant(config(kv_heads=4), dtype="float16", shards=2, pre="qwen2"),
    "qwen2moe-merged": Variant(config(), merged=True, pre="qwen2", no_logits=NO_LOGITS),
    "qwen2moe-transformers5": Variant(as_transformers5(config()), pre="qwen2"),
}
