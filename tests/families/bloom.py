"""BLOOM: names with and without their prefix, numbers of heads that are no power of two, old and new names of keys."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small BLOOM, as transformers 4 writes it."""
    made: dict[str, Any] = {
        "architectures": ["BloomForCausalLM"],
        "model_type": "bloom",
        "vocab_size": 512,
        "hidden_size": 64,
        "n_layer": 3,
        "n_head": 4,
        "layer_norm_epsilon": 1e-5,
        "apply_residual_connection_post_layernorm": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


VARIANTS = {
    "bloom-bf16": Variant(config(seq_length=2048)),
    "bloom-bare-f16": Variant(
        config(hidden_size=None, n_embed=48, n_inner=None, n_head=None, num_attention_heads=3, offset_alibi=100),
        dtype="float16",
        bare=True,
    ),
    "bloom-f32-sharded": Variant(config(hidden_size=96, n_head=6, seq_length=512), dtype="float32", shards=3),
    "bloom-untied": Variant(
        config(n_head=None, n_layer=None, num_hidden_layers=2, num_attention_heads=8) | {"tie_word_embeddings": False}
    ),
}
