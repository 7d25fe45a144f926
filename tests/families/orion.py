"""Orion: with and without groups of queries, each name of its length."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.dense_equivalents import orion_as_stablelm


def variant(more: dict[str, Any], form: dict[str, Any] | None = None, **shape: Any) -> Variant:
    """Return a variant that transformers computes as a StableLM."""
    made = decoder_config("OrionForCausalLM", "orion", tokenizer="spm", tie=False, **shape)
    return Variant(made | more, tokenizer="spm", equivalent=orion_as_stablelm, **(form or {}))


VARIANTS = {
    "orion-bf16": variant({"max_sequence_length": 4096}),
    "orion-no-groups-f32": variant({}, {"dtype": "float32"}, heads=3, kv_heads=3, hidden=48, epsilon=1e-4),
    "orion-f16-sharded": variant({}, {"dtype": "float16", "shards": 3}, heads=8, kv_heads=1, layers=3),
    "orion-rope-base": variant({}, {"own_keys": ("orion.rope.freq_base",)}, rope_theta=500000.0),
}
