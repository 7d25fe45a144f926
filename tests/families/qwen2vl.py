"""Qwen2-VL and Qwen2.5-VL: the flat config and the nested one, names of both times, tied and not, each type."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import text_as_qwen2

SECTIONS = {"type": "mrope", "mrope_section": [2, 3, 3]}
SEEING = {"visual.patch_embed.proj.weight": (32, 3, 2, 14, 14), "visual.blocks.0.attn.qkv.weight": (96, 32)}


def config(architecture: str, model_type: str, **shape: Any) -> dict[str, Any]:
    """Return the flat config.json of a small model that sees."""
    fixed = {"rope_theta": 1000000.0, "epsilon": 1e-6, "rope_scaling": SECTIONS}
    made = decoder_config(architecture, model_type, **{**fixed, **shape})
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": made["hidden_size"], "num_heads": 2, "patch_size": 14}
    return made | {"vision_config": vision, "image_token_id": 10, "use_sliding_window": False}


def nested(made: dict[str, Any]) -> dict[str, Any]:
    """Return the same config with the text model's settings in a part of their own."""
    outer = ("architectures", "model_type", "vision_config", "image_token_id", "tie_word_embeddings", "bos_token_id",
             "eos_token_id")  # fmt: skip
    text = {key: value for key, value in made.items() if key not in outer}
    return {key: made[key] for key in outer} | {
        "text_config": text
        | {"model_type": f"{made['model_type']}_text", "tie_word_embeddings": made["tie_word_embeddings"]}
    }


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant whose text transformers computes as a Qwen2."""
    return Variant(made, equivalent=text_as_qwen2, more_tensors=SEEING, **more)


QWEN2 = ("Qwen2VLForConditionalGeneration", "qwen2_vl")
QWEN25 = ("Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl")

VARIANTS = {
    "qwen2vl-tied-bf16": variant(config(*QWEN2)),
    "qwen2vl-untied-f32": variant(
        config(*QWEN25, tie=False, hidden=96, heads=6, kv_heads=3), dtype="float32", shards=2
    ),
    "qwen2vl-nested-f16": variant(nested(config(*QWEN25, kv_heads=4)), dtype="float16"),
}
