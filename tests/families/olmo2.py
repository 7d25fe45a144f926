"""OLMo 2: many keys and few, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small OLMo 2."""
    return decoder_config("Olmo2ForCausalLM", "olmo2", **{"tie": False, "rope_theta": 500000.0, **shape})


VARIANTS = {
    "olmo2-bf16": Variant(config(kv_heads=4)),
    "olmo2-few-keys-f32": Variant(config(hidden=48, heads=6, kv_heads=2), dtype="float32", shards=2),
    "olmo2-f16": Variant(config(), dtype="float16"),
    "olmo2-transformers5": Variant(as_transformers5(config(rope_theta=10000.0))),
}
