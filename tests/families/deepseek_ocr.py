"""DeepSeek-OCR: its settings inside and outside, dense layers first and none, each type, in shards."""

from typing import Any

from tests.families import Variant, deepseek
from tests.support.checkpoints import decoder_config

NO_CLASS = "its class comes with the model"
SEEING = {
    "model.sam_model.patch_embed.proj.weight": (32, 3, 16, 16),
    "model.vision_model.pre_layrnorm.weight": (32,),
    "model.projector.layers.weight": (64, 32),
    "model.image_newline": (64,),
    "model.view_seperator": (64,),
}


def config(changes: dict[str, Any] | None = None, *, outside: bool = True, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small DeepSeek-OCR; `outside`: the settings of its text model stand there too."""
    made = decoder_config("DeepseekOCRForCausalLM", "deepseek_vl_v2", **{"tie": False, "kv_heads": 4, **shape})
    kept = ("n_routed_experts", "n_shared_experts", "num_experts_per_tok", "moe_intermediate_size")
    experts = {key: deepseek.config()[key] for key in kept}
    latent = dict.fromkeys(("qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 0)
    text = {key: value for key, value in made.items() if key not in ("architectures", "model_type", "rope_theta")}
    text |= experts | latent | {"first_k_dense_replace": 1, "kv_lora_rank": None, "q_lora_rank": None}
    text |= {"use_mla": False, "topk_method": "greedy", "n_group": 1, "topk_group": 1} | (changes or {})
    named = {key: made[key] for key in ("architectures", "model_type", "bos_token_id", "eos_token_id")}
    inner = text | {"architectures": ["DeepseekV2ForCausalLM"]}
    return (text if outside else {}) | named | {"language_config": inner, "vision_config": {"width": {}}}


VARIANTS = {
    "deepseek-ocr-bf16": Variant(config(), pre="deepseek-v3", more_tensors=SEEING, no_logits=NO_CLASS),
    "deepseek-ocr-f32": Variant(
        config({"first_k_dense_replace": 0, "n_shared_experts": 1, "norm_topk_prob": True}, outside=False, layers=3),
        dtype="float32",
        shards=2,
        pre="deepseek-v3",
        more_tensors=SEEING,
        no_logits=NO_CLASS,
    ),
    "deepseek-ocr-f16": Variant(
        config({"routed_scaling_factor": 1.0}, heads=2, kv_heads=2),
        dtype="float16",
        pre="deepseek-v3",
        no_logits=NO_CLASS,
    ),
}
