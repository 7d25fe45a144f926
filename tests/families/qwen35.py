"""Qwen3.5: text alone and inside a larger model, shared and own heads of linear attention, further tokens."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

ROPE = {
    "mrope_interleaved": True,
    "mrope_section": [2, 1, 1],
    "partial_rotary_factor": 0.25,
    "rope_theta": 10000000.0,
    "rope_type": "default",
}
LINEAR = {
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 16,
    "linear_value_head_dim": 16,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
}


def config(layers: int = 4, rope: dict[str, Any] = ROPE, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Qwen3.5 that reads text alone."""
    fixed = {"head_dim": 32, "epsilon": 1e-6}
    made = decoder_config("Qwen3_5ForCausalLM", "qwen3_5_text", layers=layers, **{**fixed, **shape})
    del made["rope_theta"]
    return (
        made
        | LINEAR
        | {
            "attn_output_gate": True,
            "full_attention_interval": 4,
            "layer_types": ["linear_attention" if (layer + 1) % 4 else "full_attention" for layer in range(layers)],
            "rope_parameters": rope,
        }
    )


def inside(text: dict[str, Any], architecture: str, model_type: str) -> dict[str, Any]:
    """Return the config of a model that sees, with this one as its text model."""
    text = {key: value for key, value in text.items() if key not in ("architectures", "bos_token_id", "eos_token_id")}
    vision = {"model_type": model_type, "depth": 1, "hidden_size": 32, "num_heads": 2, "out_hidden_size": 64}
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "text_config": text,
        "vision_config": vision,
        "image_token_id": 10,
        "tie_word_embeddings": text["tie_word_embeddings"],
    }


SEEING = {"model.visual.patch_embed.proj.weight": (32, 3, 2, 16, 16), "model.visual.blocks.0.attn.qkv.weight": (96, 32)}
NEXT = {"mtp.fc.weight": (64, 128), "mtp.norm.weight": (64,), "mtp.layers.0.self_attn.q_proj.weight": (256, 64)}
_TEXT = {"pre": "qwen35", "transformers": 5, "tolerance": 3e-3}

VARIANTS = {
    "qwen35-tied-bf16": Variant(config() | {"mtp_num_hidden_layers": 1}, more_tensors=NEXT, **_TEXT),
    "qwen35-untied-f32": Variant(
        config(8, tie=False, heads=3, kv_heads=1) | {"linear_num_value_heads": 2}, dtype="float32", shards=2, **_TEXT
    ),
    "qwen35-f16": Variant(config(layers=5, kv_heads=4), dtype="float16", **_TEXT),
    "qwen35-no-sections": Variant(
        config(rope={"rope_type": "default", "rope_theta": 1000000.0, "partial_rotary_factor": 0.5}), **_TEXT
    ),
    "qwen35-inside": Variant(
        inside(config(), "Qwen3_5ForConditionalGeneration", "qwen3_5"),
        prefix="model.language_model.",
        bare=True,
        more_tensors=SEEING | NEXT,
        **_TEXT,
    ),
}
