"""Cohere2: the usual pattern of windows as a number and as a list, and another one."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Cohere2."""
    made = decoder_config("Cohere2ForCausalLM", "cohere2", tie=True, **({"layers": 4} | shape))
    del made["rms_norm_eps"]
    return made | {"layer_norm_eps": 1e-5, "logit_scale": 0.0625, "sliding_window": 16, "rotary_pct": 1.0}


_WINDOW, _FULL = "sliding_attention", "full_attention"

VARIANTS = {
    "cohere2-bf16": Variant(config() | {"sliding_window_pattern": 4}),
    "cohere2-f32-sharded": Variant(
        config(layers=5, heads=3, kv_heads=1, hidden=48) | {"layer_types": [*3 * [_WINDOW], _FULL, _WINDOW]},
        dtype="float32",
        shards=3,
    ),
    "cohere2-other-pattern-f16": Variant(
        config(layers=3, head_dim=16) | {"layer_types": [_FULL, _WINDOW, _FULL], "logit_scale": 0.25},
        dtype="float16",
        own_keys=("cohere2.attention.sliding_window_pattern",),
    ),
    # With the class's own base: transformers 4 does not read that of transformers 5.
    "cohere2-transformers5": Variant(as_transformers5(config()) | {"sliding_window": 24}),
}
