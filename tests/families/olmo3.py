"""OLMo 3: windows by default and by name, YaRN in the layers without one, few keys, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config

# The factor of cosines and sines is the one that llama.cpp computes: 0.1 ln 8 + 1.
YARN = {
    "rope_type": "yarn",
    "factor": 8.0,
    "attention_factor": 1.2079441541679836,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "original_max_position_embeddings": 64,
}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small OLMo 3: five layers, so that the fourth has no window."""
    fixed = {"tie": False, "layers": 5, "rope_theta": 500000.0}
    return decoder_config("Olmo3ForCausalLM", "olmo3", **{**fixed, **shape}) | {"sliding_window": 16}


_KINDS = ["full_attention", "sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]

VARIANTS = {
    "olmo3-bf16": Variant(config(kv_heads=4)),
    "olmo3-yarn-f32": Variant(config(rope_scaling=YARN), dtype="float32", shards=2),
    "olmo3-windows-f16": Variant(config(hidden=48, heads=6) | {"layer_types": _KINDS}, dtype="float16"),
    "olmo3-transformers5": Variant(as_transformers5(config(rope_theta=10000.0))),
}
