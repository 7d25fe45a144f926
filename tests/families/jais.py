"""Jais: both names of its scales, an odd number of heads, tied and untied."""

from typing import Any

from tests.families import Variant


def variant(changes: dict[str, Any], **more: Any) -> Variant:
    """Return a variant of a small Jais."""
    made: dict[str, Any] = {
        "architectures": ["JAISLMHeadModel"],
        "model_type": "jais",
        "vocab_size": 512,
        "n_positions": 128,
        "n_embd": 64,
        "n_layer": 3,
        "n_head": 4,
        "n_inner": 160,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "swiglu",
        "position_embedding_type": "alibi",
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return Variant(made | changes, no_logits="transformers has no gates with ALiBi", **more)


OLD = {"embeddings_scale": 14.6, "width_scale": 0.11100000000000002, "scale_qk_dot_by_d": True}
NEW = {
    "mup_embeddings_scale": 9.1705785388303,
    "mup_output_alpha": 1.09518349815769,
    "mup_width_scale": 1 / 6,
    "mup_scale_qk_dot_by_d": True,
}

VARIANTS = {
    "jais-13b-bf16": variant(OLD | {"tie_word_embeddings": False}),
    "jais-590m-f32": variant(NEW | {"n_embd": 48, "n_head": 3, "n_layer": 2}, dtype="float32"),
    "jais-f16-sharded": variant(NEW | {"n_inner": 256, "scale_attn_weights": True}, dtype="float16", shards=3),
}
