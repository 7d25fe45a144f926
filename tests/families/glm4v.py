"""GLM-4.1V: the text of a model that sees, heads of the usual width and others, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.families.chatglm import config as glm_config
from tests.families.wrapped import inside
from tests.support.equivalents import text_as_glm4

SEEING = {"model.visual.patch_embed.proj.weight": (32, 3, 2, 14, 14), "model.visual.blocks.0.norm1.weight": (32,)}


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small GLM-4.1V."""
    text = glm_config("", "glm4v_text", **{"epsilon": 1e-5, "head_dim": None, "tie": True, **shape})
    text |= {"rope_scaling": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    return inside(text, "Glm4vForConditionalGeneration", "glm4v", vision_config={"hidden_size": 32})


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a GLM-4-0414."""
    return Variant(
        made,
        tokenizer="write_glm_tokenizer",
        prefix="model.language_model.",
        bare=True,
        more_tensors=SEEING,
        equivalent=text_as_glm4,
        **more,
    )


VARIANTS: dict[str, Variant] = {
    "glm4v-bf16": variant(config()),
    "glm4v-f32": variant(config(hidden=96, heads=6, kv_heads=3), dtype="float32", shards=2),
    "glm4v-f16": variant(config(kv_heads=4, head_dim=16), dtype="float16"),
}
