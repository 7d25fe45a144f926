"""ERNIE 4.5: tied without a word and not, heads wider than the model, a space before the text, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small ERNIE 4.5."""
    fixed = {"head_dim": 32, "rope_theta": 500000.0, "tokenizer": "spm"}
    return decoder_config("Ernie4_5ForCausalLM", "ernie4_5", **{**fixed, **shape}) | {"use_bias": False}


def _without(made: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key not in keys}


VARIANTS = {
    "ernie4_5-bf16": Variant(_without(config(), "tie_word_embeddings", "rope_theta"), tokenizer="spm"),
    "ernie4_5-untied-f32": Variant(
        config(tie=False, hidden=48, heads=6, kv_heads=3, head_dim=16), dtype="float32", shards=2, tokenizer="spm"
    ),
    "ernie4_5-f16-prefix": Variant(config(kv_heads=1), dtype="float16", tokenizer="write_prefixed_tokenizer"),
    "ernie4_5-transformers5": Variant(as_transformers5(config(kv_heads=4)), tokenizer="spm"),
}
