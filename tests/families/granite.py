"""Granite: its four scales explicit and by default, tied and not, biases, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

SCALES = {
    "attention_multiplier": 0.3,
    "embedding_multiplier": 12.0,
    "residual_multiplier": 0.22,
    "logits_scaling": 8.0,
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Granite."""
    return decoder_config("GraniteForCausalLM", "granite", **shape)


VARIANTS = {
    "granite-tied-bf16": Variant(config() | SCALES, pre="refact"),
    "granite-untied-f32": Variant(
        config(tie=False, hidden=48, heads=6, kv_heads=3) | SCALES, dtype="float32", shards=2, pre="refact"
    ),
    "granite-f16-defaults": Variant(config(kv_heads=4, head_dim=16), dtype="float16", pre="refact"),
    "granite-biases": Variant(config() | SCALES | {"attention_bias": True, "mlp_bias": True}, pre="refact"),
    "granite-transformers5": Variant(as_transformers5(config() | SCALES), pre="refact"),
}
