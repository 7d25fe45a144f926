"""HunyuanOCR: the flat config and the nested one of transformers 5, tied and not, each type, shards."""

from typing import Any

from tests.families import Variant
from tests.families.qwen2vl import nested
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import text_as_hunyuan

ALPHA = {"alpha": 1000.0, "beta_fast": 32, "beta_slow": 1, "factor": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0}
SECTIONS = [4, 4, 4, 4]
SEEING = {"vit.embeddings.patch_embedding.weight": (32, 3, 16, 16), "vit.perceive.before_rms.weight": (32,)}


def config(**shape: Any) -> dict[str, Any]:
    """Return the flat config.json of a small model that reads images."""
    fixed = {"head_dim": 32, "rope_scaling": {**ALPHA, "type": "xdrope", "xdrope_section": SECTIONS}}
    made = decoder_config("HunYuanVLForConditionalGeneration", "hunyuan_vl", **{**fixed, **shape})
    vision = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return made | {"vision_config": vision, "image_token_id": 10, "num_experts": 1, "use_qk_norm": True}


def _transformers5(made: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in made.items() if key not in ("rope_theta", "rope_scaling", "num_experts")}
    rope = {**ALPHA, "rope_type": "dynamic", "rope_theta": made["rope_theta"], "mrope_section": SECTIONS}
    return kept | {"rope_parameters": rope}


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant whose text transformers computes as a dense Hunyuan."""
    return Variant(made, equivalent=text_as_hunyuan, more_tensors=SEEING, **more)


VARIANTS = {
    "hunyuan-vl-tied-bf16": variant(config() | {"eod_token_id": 510}, tokenizer="write_ending_tokenizer"),
    "hunyuan-vl-untied-f32": variant(config(tie=False, heads=3, kv_heads=1), dtype="float32", shards=2),
    "hunyuan-vl-nested-f16": variant(nested(_transformers5(config(kv_heads=4))), dtype="float16"),
}
