"""GLM: half of each head rotates, biases and none, tied and not, each type, shards.

llama.cpp's converter reads context, epsilon and rotary base from keys that this class does not have.
"""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

OWN = ("chatglm.context_length", "chatglm.attention.layer_norm_rms_epsilon", "chatglm.rope.freq_base")


def config(architecture: str = "GlmForCausalLM", model_type: str = "glm", **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small GLM."""
    fixed = {"tie": False, "head_dim": 16, "epsilon": 1.5625e-7}
    made = decoder_config(architecture, model_type, **{**fixed, **shape})
    return made | {"attention_bias": True, "partial_rotary_factor": 0.5, "pad_token_id": 0}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant with GLM's special tokens."""
    return Variant(made, tokenizer="write_glm_tokenizer", **more)


def transformers5(made: dict[str, Any]) -> dict[str, Any]:
    """Return the same config as transformers 5 writes it, with the share that rotates among the rope settings."""
    kept = {key: value for key, value in made.items() if key not in ("rope_theta", "partial_rotary_factor")}
    rope = {"rope_type": "default", "rope_theta": made["rope_theta"], "partial_rotary_factor": 0.5}
    return kept | {"rope_parameters": rope, "dtype": "bfloat16"}


VARIANTS = {
    "chatglm-bf16": variant(config(), own_keys=OWN),
    "chatglm-no-bias-f32": variant(
        config(hidden=96, heads=6, kv_heads=3) | {"attention_bias": False}, dtype="float32", shards=2, own_keys=OWN
    ),
    "chatglm-tied-f16": variant(config(tie=True, kv_heads=4, rope_theta=50000.0), dtype="float16", own_keys=OWN),
    "chatglm-transformers5": variant(transformers5(config()), own_keys=OWN),
}
