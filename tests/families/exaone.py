"""EXAONE 3: tied and not, llama3's factors, heads of a stated width, each type, shards.

llama.cpp's converter writes the norms' epsilon under another key than llama.cpp reads, so its file does not load.
"""

from typing import Any

from tests.families import Variant
from tests.families.llama import ROPE
from tests.support.equivalents import exaone_as_llama


def config(**changes: Any) -> dict[str, Any]:
    """Return the config.json of a small EXAONE 3."""
    made: dict[str, Any] = {
        "architectures": ["ExaoneForCausalLM"],
        "model_type": "exaone",
        "activation_function": "silu",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 512,
        "max_position_embeddings": 512,
        "layer_norm_epsilon": 1e-5,
        "rope_theta": 1000000.0,
        "rope_scaling": ROPE,
        "tie_word_embeddings": True,
        "bos_token_id": 508,
        "eos_token_id": 509,
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Llama."""
    own_keys = ("exaone.attention.layer_norm_rms_epsilon",)
    return Variant(made, equivalent=exaone_as_llama, own_keys=own_keys, **more)


VARIANTS = {
    "exaone-tied-bf16": variant(config()),
    "exaone-untied-f32": variant(
        config(tie_word_embeddings=False, rope_scaling=None, head_dim=None), dtype="float32", shards=2
    ),
    "exaone-f16": variant(config(hidden_size=48, num_attention_heads=6, head_dim=8), dtype="float16"),
    "exaone-transformers5": variant(
        config(rope_scaling=None, rope_theta=None) | {"rope_parameters": {**ROPE, "rope_theta": 10000.0}}
    ),
}
