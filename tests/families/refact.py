"""Refact: tied and untied, a number of heads that is no power of two."""

from typing import Any

from tests.families import Variant


def variant(changes: dict[str, Any], **more: Any) -> Variant:
    """Return a variant of a small Refact."""
    made: dict[str, Any] = {
        "architectures": ["GPTRefactForCausalLM"],
        "model_type": "gpt_refact",
        "vocab_size": 512,
        "n_positions": 128,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "multi_query": True,
        "tie_word_embeddings": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return Variant(made | changes, no_logits="transformers has no RMS norms with ALiBi", **more)


VARIANTS = {
    "refact-bf16": variant({}),
    "refact-tied-f32": variant({"tie_word_embeddings": True, "n_layer": 2, "n_embd": 96, "n_head": 6}, dtype="float32"),
    "refact-f16-sharded": variant(
        {"n_embd": 128, "n_head": 2, "activation_function": "silu"}, dtype="float16", shards=3
    ),
}
