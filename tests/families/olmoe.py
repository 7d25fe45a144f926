"""OLMoE: its norms of queries and keys, numbers of experts, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(*, n_experts: int = 8, n_used: int = 3, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small OLMoE."""
    experts = {"num_experts": n_experts, "num_experts_per_tok": n_used}
    shape = {"tie": False, "heads": 4, "kv_heads": 4, **shape}
    return decoder_config("OlmoeForCausalLM", "olmoe", **shape) | experts


VARIANTS = {
    "olmoe-bf16": Variant(config(), pre="olmo"),
    "olmoe-f32": Variant(config(n_experts=4, heads=2, kv_heads=2), dtype="float32", pre="olmo"),
    "olmoe-f16-sharded": Variant(config(n_experts=16, n_used=8, layers=3), dtype="float16", shards=2, pre="olmo"),
    "olmoe-transformers5": Variant(as_transformers5(config()), pre="olmo"),
}
