"""SmolLM3: tied without a word and untied, layers without rotary embedding by default and by name, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import as_transformers5, decoder_config


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small SmolLM3: five layers, so that the fourth has no rotary embedding."""
    return decoder_config("SmolLM3ForCausalLM", "smollm3", **{"layers": 5, **shape}) | {"pad_token_id": 0}


def _without(made: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in made.items() if key not in keys}


# llama.cpp adds BOS by the name of this pre-tokenizer, which these tokenizers do not: the key says so.
_WITHOUT_BOS: dict[str, Any] = {"pre": "llama-bpe", "own_keys": ("tokenizer.ggml.add_bos_token",)}

VARIANTS = {
    "smollm3-tied-bf16": Variant(_without(config(), "tie_word_embeddings", "rope_theta"), **_WITHOUT_BOS),
    "smollm3-untied-f32": Variant(
        config(tie=False, hidden=48, heads=6, kv_heads=3) | {"no_rope_layers": [1, 1, 1, 0, 1]},
        dtype="float32",
        shards=2,
        **_WITHOUT_BOS,
    ),
    "smollm3-f16": Variant(config(kv_heads=4), dtype="float16", **_WITHOUT_BOS),
    "smollm3-transformers5": Variant(as_transformers5(config(rope_theta=2000000.0)), **_WITHOUT_BOS),
}
