"""Qwen3-VL: tied and not, heads wider than the model, layers that take features of images, each type, both forms."""

from typing import Any

from tests.families import Variant
from tests.families.qwen2vl import nested
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import text_as_qwen3

SECTIONS = {"rope_type": "default", "mrope_section": [6, 5, 5], "mrope_interleaved": True}
SEEING = {"model.visual.patch_embed.proj.weight": (32, 3, 2, 16, 16), "model.visual.blocks.0.attn.qkv.weight": (96, 32)}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small model that sees."""
    fixed = {"layers": 4, "head_dim": 32, "rope_theta": 5000000.0, "rope_scaling": SECTIONS}
    made = decoder_config("Qwen3VLForConditionalGeneration", "qwen3_vl", **{**fixed, **shape})
    vision = {"depth": 4, "hidden_size": 32, "deepstack_visual_indexes": [1, 2, 3], "out_hidden_size": 64}
    return made | {"vision_config": vision, "image_token_id": 10}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant whose text transformers computes as a Qwen3."""
    names = {"prefix": "model.language_model.", "bare": True} if made["tie_word_embeddings"] else {}
    return Variant(nested(made), equivalent=text_as_qwen3, more_tensors=SEEING, **names, **more)


VARIANTS = {
    "qwen3vl-tied-bf16": variant(config()),
    "qwen3vl-untied-f32": variant(config(tie=False, heads=3, kv_heads=1), dtype="float32", shards=2),
    "qwen3vl-f16": variant(config(kv_heads=4), dtype="float16"),
    "qwen3vl-transformers5": variant(as_transformers5(config())),
}
