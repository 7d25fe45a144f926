"""StableLM: as in 3B-4E1T, in 2-1.6B with biases, and in 2-12B with a norm per head and both halves side by side."""

from typing import Any

from tests.families import Variant


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small StableLM."""
    made: dict[str, Any] = {
        "architectures": ["StableLmForCausalLM"],
        "model_type": "stablelm",
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 160,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "hidden_act": "silu",
        "max_position_embeddings": 512,
        "layer_norm_eps": 1e-5,
        "rope_theta": 10000,
        "partial_rotary_factor": 0.25,
        "use_qkv_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


ROPE = {"rope_type": "default", "rope_theta": 10000, "partial_rotary_factor": 0.5}

VARIANTS = {
    "stablelm-3b-bf16": Variant(config()),
    "stablelm-biases-f16": Variant(
        config(use_qkv_bias=True, hidden_size=96, num_attention_heads=6, num_key_value_heads=6), dtype="float16"
    ),
    "stablelm-12b-sharded": Variant(
        config(num_key_value_heads=2, qk_layernorm=True, use_parallel_residual=True, num_hidden_layers=2),
        shards=4,
        oracle_fails=True,
    ),
    "stablelm-head-norms-f32": Variant(
        config(num_attention_heads=12, num_key_value_heads=3, hidden_size=96, qk_layernorm=True, use_qkv_bias=True),
        dtype="float32",
        oracle_fails=True,  # it stacks the norms and writes none
    ),
    "stablelm-transformers5": Variant(
        config(rope_theta=None, partial_rotary_factor=None, rope_parameters=ROPE),
        oracle_config={"rope_parameters": None, "rope_theta": 10000, "partial_rotary_factor": 0.5},
    ),
    "stablelm-code-3b": Variant(
        config(rope_theta=500, partial_rotary_factor=1.0), own_keys=("stablelm.rope.freq_base",)
    ),
}
