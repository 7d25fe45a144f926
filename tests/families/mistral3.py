"""Mistral 3: the text of a model that sees, of both types, in both forms of config, and Ministral 3 alone."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config
from tests.support.equivalents import text_as_mistral

YARN = {
    "rope_type": "yarn",
    "type": "yarn",
    "factor": 16.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
    "original_max_position_embeddings": 64,
    "rope_theta": 1000000.0,
}
SEEING = {
    "vision_tower.patch_conv.weight": (32, 3, 14, 14),
    "vision_tower.transformer.layers.0.attention.q_proj.weight": (32, 32),
    "multi_modal_projector.linear_1.weight": (64, 32),
}


def config(model_type: str, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small text model."""
    made = decoder_config("Ministral3ForCausalLM", model_type, **{"tie": False, "head_dim": 32, **shape})
    if model_type == "ministral3":
        del made["rope_theta"]
        made["rope_parameters"] = YARN
    return made


def inside(text: dict[str, Any]) -> dict[str, Any]:
    """Return the config of a model that sees, with this one as its text model."""
    omitted = ("architectures", "bos_token_id", "eos_token_id")
    return {
        "architectures": ["Mistral3ForConditionalGeneration"],
        "model_type": "mistral3",
        "text_config": {key: value for key, value in text.items() if key not in omitted},
        "vision_config": {"model_type": "pixtral", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2},
        "image_token_index": 10,
        "tie_word_embeddings": text["tie_word_embeddings"],
        "bos_token_id": 508,
        "eos_token_id": 509,
    }


def variant(made: dict[str, Any], **more: Any) -> Variant:
    """Return a variant that transformers computes as a Mistral."""
    return Variant(made, equivalent=text_as_mistral, **more)


VARIANTS = {
    "mistral3-bf16": variant(inside(config("mistral")), prefix="language_model.", more_tensors=SEEING),
    "mistral3-ministral-f32": variant(
        inside(config("ministral3", hidden=48, heads=6, kv_heads=3)),
        dtype="float32",
        shards=2,
        prefix="language_model.",
        more_tensors=SEEING,
    ),
    "mistral3-ministral-tied-f16": variant(
        inside(config("ministral3", tie=True)), dtype="float16", prefix="language_model.", more_tensors=SEEING
    ),
    "mistral3-ministral-alone": variant(config("ministral3", kv_heads=4)),
}
