"""Gemma 3: alone and inside a multimodal model, two rotary bases in both forms, scaling, windows, spare rows."""

from typing import Any

from tests.families import Variant
from tests.families.gemma import F16_TOLERANCE
from tests.support.checkpoints import decoder_config

LINEAR = {"rope_type": "linear", "factor": 8.0}
_WINDOWS = [(layer + 1) % 6 != 0 for layer in range(7)]


def config(**shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Gemma 3: seven layers, so that the sixth has no window."""
    fixed = {"head_dim": 32, "layers": 7, "tokenizer": "spm", "rope_theta": 1000000.0}
    made = decoder_config("Gemma3ForCausalLM", "gemma3_text", **{**fixed, **shape})
    return made | {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": 32,
        "sliding_window": 16,
        "sliding_window_pattern": 6,
        "rope_local_base_freq": 10000.0,
    }


def transformers5(**rope: Any) -> dict[str, Any]:
    """Return the same config as transformers 5 writes it."""
    made = config()
    for key in ("rope_theta", "rope_local_base_freq", "sliding_window_pattern"):
        del made[key]
    return made | {
        "dtype": "bfloat16",
        "layer_types": ["sliding_attention" if window else "full_attention" for window in _WINDOWS],
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1000000.0, **rope},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    }


def inside(text: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a model that sees, with this one as its text model."""
    text = {key: value for key, value in text.items() if key not in ("architectures", "bos_token_id", "eos_token_id")}
    return {
        "architectures": ["Gemma3ForConditionalGeneration"],
        "model_type": "gemma3",
        "text_config": text,
        "vision_config": {
            "model_type": "siglip_vision_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "image_size": 28,
            "patch_size": 14,
        },
        "mm_tokens_per_image": 4,
        "image_token_index": 511,
        "boi_token_index": 510,
        "eoi_token_index": 509,
        "bos_token_id": 1,
        "eos_token_id": [2, 106],
    }


SEEING = {
    "vision_tower.vision_model.post_layernorm.weight": (32,),
    "vision_tower.vision_model.encoder.layers.0.self_attn.q_proj.weight": (32, 32),
    "multi_modal_projector.mm_soft_emb_norm.weight": (32,),
}

VARIANTS = {
    "gemma3-spm-bf16": Variant(config(kv_heads=1), tokenizer="spm"),
    "gemma3-f16-sharded": Variant(
        config(heads=3, kv_heads=3), dtype="float16", shards=3, tokenizer="spm", tolerance=F16_TOLERANCE
    ),
    "gemma3-linear-f32": Variant(config() | {"rope_scaling": LINEAR}, dtype="float32", tokenizer="spm"),
    "gemma3-bpe-cap": Variant(config(tokenizer="bpe") | {"final_logit_softcapping": 1.0}),
    "gemma3-no-windows": Variant(config() | {"sliding_window_pattern": 1}, tokenizer="spm"),
    "gemma3-other-windows": Variant(
        config() | {"sliding_window_pattern": 2},
        tokenizer="spm",
        own_keys=("gemma3.attention.sliding_window_pattern",),
    ),
    "gemma3-transformers5": Variant(transformers5(), tokenizer="spm"),
    "gemma3-transformers5-linear": Variant(
        transformers5(**LINEAR), tokenizer="spm", no_logits="4.57 does not read the scaling in rope_parameters"
    ),
    "gemma3-inside": Variant(
        inside(config() | {"rope_scaling": LINEAR}), tokenizer="spm", prefix="language_model.", more_tensors=SEEING
    ),
    "gemma3-inside-transformers5": Variant(
        inside(transformers5()), tokenizer="spm", prefix="language_model.", more_tensors=SEEING
    ),
    "gemma3-spare-rows": Variant(
        config(),
        tokenizer="spm",
        no_logits="it refuses the spare rows",
        more_tensors={"model.embed_tokens.weight": (520, 64)},
    ),
}
