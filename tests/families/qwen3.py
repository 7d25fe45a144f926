"""Qwen3: tied and not, heads wider than the model, YaRN, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen3."""
    return decoder_config("Qwen3ForCausalLM", "qwen3", **{"head_dim": 32, "rope_theta": 1000000.0, **shape})


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}

VARIANTS = {
    "qwen3-tied-bf16": Variant(config(), pre="qwen2"),
    "qwen3-untied-sharded": Variant(config(tie=False, heads=3, kv_heads=1), shards=2, pre="qwen2"),
    "qwen3-f32": Variant(config(head_dim=16, kv_heads=4), dtype="float32", pre="qwen2"),
    "qwen3-f16-yarn": Variant(config(rope_scaling=YARN), dtype="float16", pre="qwen2"),
    "qwen3-transformers5": Variant(as_transformers5(config(rope_theta=10000.0)), pre="qwen2"),
}
