"""XVERSE: its tokenizer.json, whose merges llama.cpp's converter drops; shards, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.dense_equivalents import as_llama


def variant(form: dict[str, Any], more: dict[str, Any] | None = None, **shape: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    made = decoder_config("XverseForCausalLM", "xverse", tokenizer="spm", tie=False, **shape)
    kept = {key: value for key, value in made.items() if key not in ("num_key_value_heads", "rope_theta")}
    return Variant(
        kept | (more or {}),
        tokenizer="write_byte_fallback_tokenizer",
        equivalent=as_llama,
        # The ranks of the merges, by which llama.cpp merges.
        own_keys=("tokenizer.ggml.scores",),
        **form,
    )


VARIANTS = {
    "xverse-bf16": variant({}),
    "xverse-odd-heads-f32": variant({"dtype": "float32"}, heads=3, hidden=48, epsilon=1e-6),
    "xverse-f16-sharded": variant({"dtype": "float16", "shards": 3}, {"rope_theta": 500000}, layers=3),
}
