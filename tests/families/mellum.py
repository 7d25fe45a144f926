"""Mellum 2: windows in some layers and in none, scaled layers, each type, in shards.

llama.cpp's converter adds a window that no layer has, with which llama.cpp ends.
"""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128, "beta_fast": 32.0}
NO_WINDOW = ("mellum.attention.sliding_window", "mellum.attention.sliding_window_pattern")


def config(*, kinds: str = "sssf", full: dict[str, Any] | None = None, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Mellum; `kinds` of layers: with a sliding window or full attention."""
    made = decoder_config("MellumForCausalLM", "mellum", **{"tie": False, "head_dim": 32, **shape}, layers=len(kinds))
    kept = {key: value for key, value in made.items() if key != "rope_theta"}
    return kept | {
        "num_experts": 6,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 48,
        "norm_topk_prob": True,
        "sliding_window": 20,
        "layer_types": ["sliding_attention" if kind == "s" else "full_attention" for kind in kinds],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 500000.0, **(full or {})},
            "sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
        },
    }


VARIANTS = {
    "mellum-bf16": Variant(config(), pre="smollm", transformers=5),
    "mellum-f32-pairs": Variant(
        config(kinds="fsfs", heads=3, kv_heads=1, full=YARN), dtype="float32", pre="smollm", transformers=5
    ),
    "mellum-f16-sharded": Variant(
        config(kinds="ff"), dtype="float16", shards=2, pre="smollm", transformers=5, own_keys=NO_WINDOW
    ),
}
