"""Jais 2: tied and untied, groups of queries, heads of another width."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.dense_equivalents import jais2_as_nemotron


def variant(more: dict[str, Any], form: dict[str, Any] | None = None, *, five: bool = False, **shape: Any) -> Variant:
    """Return a variant that transformers computes as a Nemotron."""
    made = decoder_config("Jais2ForCausalLM", "jais2", **({"tie": False, "head_dim": 16} | shape))
    del made["rms_norm_eps"]
    made |= {"hidden_act": "relu2", "layer_norm_eps": 1e-5, "attention_bias": True, "mlp_bias": True}
    made = as_transformers5(made) if five else made
    return Variant(made | more, equivalent=jais2_as_nemotron, **(form or {}))


VARIANTS = {
    "jais2-bf16": variant({}),
    "jais2-tied-f32": variant({}, {"dtype": "float32"}, tie=True, heads=3, kv_heads=1, hidden=48),
    "jais2-f16-sharded": variant({}, {"dtype": "float16", "shards": 3}, layers=3, head_dim=24),
    "jais2-transformers5": variant({}, five=True, rope_theta=500000.0),
}
