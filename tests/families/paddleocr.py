"""PaddleOCR-VL: the flat config and the nested one, names of both times, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.families.qwen2vl import nested
from tests.support.checkpoints import as_transformers5, decoder_config
from tests.support.equivalents import text_as_llama

SECTIONS = {"rope_type": "default", "type": "default", "mrope_section": [4, 6, 6]}
SEEING = {"visual.vision_model.embeddings.patch_embedding.weight": (32, 3, 14, 14), "mlp_AR.pre_norm.weight": (32,)}


def config(**shape: Any) -> dict[str, Any]:
    """Return the flat config.json of a small model that sees."""
    fixed = {"head_dim": 32, "rope_theta": 500000.0, "rope_scaling": SECTIONS, "tokenizer": "spm"}
    made = decoder_config("PaddleOCRVLForConditionalGeneration", "paddleocr_vl", **{**fixed, **shape})
    vision = {"model_type": "paddleocr_vl", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return made | {"vision_config": vision, "image_token_id": 10, "use_bias": False}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant whose text transformers computes as a Llama."""
    return Variant(made, equivalent=text_as_llama, tokenizer="spm", **more)


VARIANTS = {
    "paddleocr-bf16": variant(config(tie=False), more_tensors=SEEING),
    "paddleocr-tied-f32": variant(
        config(hidden=48, heads=6, kv_heads=3), dtype="float32", shards=2, more_tensors=SEEING
    ),
    "paddleocr-nested-f16": variant(
        nested(as_transformers5(config(kv_heads=4))),
        dtype="float16",
        prefix="model.language_model.",
        bare=True,
        more_tensors={"model.visual.patch_embed.weight": (32, 3, 14, 14), "model.projector.linear_1.weight": (32, 32)},
    ),
}
