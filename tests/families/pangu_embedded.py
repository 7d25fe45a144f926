"""Pangu Embedded: biases in the attention, tied and not, a space before the text, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import pangu_as_llama


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Pangu Embedded."""
    fixed = {"tie": False, "rope_theta": 16000000.0, "tokenizer": "spm"}
    return decoder_config("PanguEmbeddedForCausalLM", "PanguEmbedded", **{**fixed, **shape}) | {"bias": True}


def variant(made: dict[str, Any], tokenizer: str = "spm", **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    return Variant(made, tokenizer=tokenizer, equivalent=pangu_as_llama, **more)


VARIANTS = {
    "pangu-bf16": variant(config()),
    "pangu-head-dim-f32": variant(config(hidden=48, heads=6, kv_heads=3, head_dim=16), dtype="float32", shards=2),
    "pangu-tied-f16": variant(config(tie=True, kv_heads=4), dtype="float16", tokenizer="write_prefixed_tokenizer"),
    "pangu-transformers5": variant(as_transformers5(config())),
}
