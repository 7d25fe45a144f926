"""Mixtral: 8 experts and other numbers of them, tied and not, shards, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(*, n_experts: int = 8, n_used: int = 2, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Mixtral."""
    experts = {"num_local_experts": n_experts, "num_experts_per_tok": n_used}
    return decoder_config("MixtralForCausalLM", "mixtral", **{"tie": False, **shape}) | experts


VARIANTS = {
    "mixtral-bf16": Variant(config()),
    "mixtral-tied-f32": Variant(config(n_experts=3, tie=True, hidden=48, heads=3, kv_heads=1), dtype="float32"),
    "mixtral-f16-sharded": Variant(config(n_experts=5, n_used=3, head_dim=32), dtype="float16", shards=3),
    "mixtral-transformers5": Variant(as_transformers5(config(tokenizer="spm", rope_theta=1000000.0)), tokenizer="spm"),
}
