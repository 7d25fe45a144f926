"""PLaMo 3: windows of each pattern, two rotary bases, few keys, tied and not, each type, in shards."""

from typing import Any

from tests.families import Variant
from tests.support.windowed_equivalents import plamo3_as_gemma3


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small PLaMo 3."""
    return {
        "architectures": ["Plamo3ForCausalLM"],
        "model_type": "plamo3",
        "vocab_size": 512,
        "hidden_size": 64,
        "head_dim": 32,
        "intermediate_size": 96,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "rms_norm_eps": 1e-6,
        "window_size": 20,
        "sliding_window_pattern": 8,
        "rope_theta": 1000000,
        "rope_local_theta": 10000,
        "rope_scaling_factor": 1,
        "initial_context_length": None,
        "attention_bias": False,
        "hidden_activation": "swiglu",
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
    } | changes


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Gemma 3."""
    return Variant(made, tokenizer="write_plamo_tokenizer", equivalent=plamo3_as_gemma3, **more)


VARIANTS = {
    "plamo3-tied-bf16": variant(config()),
    "plamo3-untied-f32": variant(
        config(tie_word_embeddings=False, sliding_window_pattern=3, num_key_value_heads=1, rope_local_theta=5000),
        dtype="float32",
        shards=2,
    ),
    "plamo3-f16": variant(config(sliding_window_pattern=2, head_dim=16, num_key_value_heads=4), dtype="float16"),
}
