"""EXAONE 4: without windows and llama3's factors, and with 64 layers of which three in four have a window."""

from typing import Any

from tests.families import Variant
from tests.families.llama import ROPE
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small EXAONE 4 without windows."""
    made = decoder_config("Exaone4ForCausalLM", "exaone4", **{"rope_theta": 1000000.0, **shape})
    kinds = ["full_attention"] * made["num_hidden_layers"]
    return made | {"sliding_window": None, "sliding_window_pattern": None, "layer_types": kinds}


def windowed(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small EXAONE 4 with 64 layers, by which llama.cpp knows that there are windows."""
    fixed = {"layers": 64, "hidden": 32, "heads": 2, "kv_heads": 1, "ffn": 64}
    made = decoder_config("Exaone4ForCausalLM", "exaone4", **{**fixed, **shape})
    return made | {"sliding_window": 16, "sliding_window_pattern": "LLLG"}


_KINDS = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"] * 16

VARIANTS = {
    "exaone4-tied-bf16": Variant(config(rope_scaling=ROPE)),
    "exaone4-untied-f32": Variant(config(tie=False, kv_heads=4), dtype="float32", shards=2),
    "exaone4-f16": Variant(config(hidden=48, heads=6, kv_heads=3), dtype="float16"),
    "exaone4-windows": Variant(windowed(tie=False) | {"layer_types": _KINDS}),
    "exaone4-transformers5": Variant(as_transformers5(config(rope_theta=10000.0))),
}
