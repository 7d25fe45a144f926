"""Text models of other families inside models that see or hear: what is around them is omitted, each in its way."""

from typing import Any

from tests.families import Variant, deepseek3, qwen35, youtu
from tests.families.deepseek2 import LATENT
from tests.support.checkpoints import decoder_config

SAME = "its text model is compared as its family's"
HEARING = {"audio_tower.conv1.weight": (32, 8, 3), "multi_modal_projector.linear.weight": (64, 32)}
SEEING = {"vision_tower.patch_embed.weight": (32, 3, 14, 14), "multi_modal_projector.linear_1.weight": (64, 32)}
PROJECTED = {"model.vision_tower.patch_embed.weight": (32, 3, 14, 14), "model.mm_projector.0.weight": (64, 32)}
OMNI = {
    "thinker.visual.patch_embed.proj.weight": (32, 3, 2, 14, 14),
    "thinker.audio_tower.conv1.weight": (32, 8, 3),
    "talker.model.embed_tokens.weight": (64, 32),
    "talker.model.layers.0.input_layernorm.weight": (32,),
    "token2wav.code2wav_bigvgan_model.conv_pre.weight": (32, 8, 3),
}


def inside(
    text: dict[str, Any], architecture: str, model_type: str, part: str = "text_config", **outer: Any
) -> dict[str, Any]:
    """Return the config of a larger model, with this one as its text model."""
    inner = {key: value for key, value in text.items() if key not in ("architectures", "bos_token_id", "eos_token_id")}
    return {
        "architectures": [architecture],
        "model_type": model_type,
        part: inner,
        "tie_word_embeddings": text["tie_word_embeddings"],
        "bos_token_id": text["bos_token_id"],
        "eos_token_id": text["eos_token_id"],
    } | outer


def _text(model_type: str, **shape: Any) -> dict[str, Any]:
    return decoder_config("", model_type, **{"tie": False, **shape})


def _omni() -> dict[str, Any]:
    text = _text("qwen2_5_omni_text") | {"rope_scaling": {"type": "default", "mrope_section": [2, 3, 3]}}
    thinker = inside(text, "Qwen2_5OmniThinkerForConditionalGeneration", "qwen2_5_omni_thinker")
    return inside(thinker, "Qwen2_5OmniModel", "qwen2_5_omni", "thinker_config")


def _flat(architecture: str, model_type: str, **shape: Any) -> dict[str, Any]:
    return decoder_config(architecture, model_type, **{"tie": False, **shape})


VARIANTS = {
    "wrapped-llava-llama": Variant(
        inside(_text("llama"), "LlavaForConditionalGeneration", "llava"),
        prefix="language_model.",
        more_tensors=SEEING,
        no_logits=SAME,
    ),
    "wrapped-llava-mistral": Variant(
        inside(_text("mistral", head_dim=32), "LlavaForConditionalGeneration", "llava"),
        dtype="float32",
        shards=2,
        prefix="language_model.",
        more_tensors=SEEING,
        no_logits=SAME,
    ),
    "wrapped-qwen2-audio": Variant(
        inside(_text("qwen2"), "Qwen2AudioForConditionalGeneration", "qwen2_audio"),
        pre="qwen2",
        prefix="language_model.",
        more_tensors=HEARING,
        no_logits=SAME,
    ),
    "wrapped-audio-flamingo3": Variant(
        inside(_text("qwen2"), "AudioFlamingo3ForConditionalGeneration", "audioflamingo3"),
        dtype="float16",
        pre="qwen2",
        prefix="language_model.",
        more_tensors=HEARING,
        no_logits=SAME,
    ),
    "wrapped-kimi-vl": Variant(
        inside(deepseek3.config(head_dim=LATENT["qk_rope_head_dim"]), "KimiVLForConditionalGeneration", "kimi_vl"),
        pre="deepseek-v3",
        prefix="language_model.",
        more_tensors=SEEING,
        no_logits=SAME,
    ),
    "wrapped-janus": Variant(
        inside(_text("llama", tie=True), "JanusForConditionalGeneration", "janus"),
        prefix="model.language_",
        more_tensors={"model.vision_model.post_layernorm.weight": (32,), "model.aligner.fc1.weight": (64, 32)},
        no_logits=SAME,
    ),
    "wrapped-minicpm-v": Variant(
        inside(qwen35.config(), "MiniCPMV4_6ForConditionalGeneration", "minicpmv4_6"),
        prefix="model.language_model.",
        pre="qwen35",
        bare=True,
        more_tensors={"model.vision_tower.post_layernorm.weight": (32,), "model.merger.mlp.0.weight": (64, 32)},
        no_logits=SAME,
    ),
    "wrapped-sarashina2": Variant(
        inside(_text("llama", head_dim=16), "Sarashina2VisionForCausalLM", "sarashina2_vision"),
        dtype="float32",
        prefix="llm.",
        more_tensors={"visual.patch_embed.proj.weight": (32, 3, 2, 14, 14), "norm.weight": (64,)},
        no_logits=SAME,
    ),
    "wrapped-step3-vl": Variant(
        inside(_text("qwen3", head_dim=32), "StepVLForConditionalGeneration", "step_robotics"),
        pre="qwen2",
        more_tensors={"vision_model.conv1.weight": (32, 3, 14, 14), "vit_large_projector.weight": (64, 32)},
        no_logits=SAME,
    ),
    "wrapped-qwen25-omni": Variant(
        _omni(), pre="qwen2", prefix="thinker.", more_tensors=OMNI, shards=2, no_logits=SAME
    ),
    "wrapped-youtu-vl": Variant(
        youtu.config() | {"architectures": ["YoutuVLForConditionalGeneration"], "model_type": "youtu_vl"},
        more_tensors={"siglip2.vision_model.post_layernorm.weight": (32,), "merger.ln_q.weight": (32,)},
        no_logits=SAME,
    ),
    "wrapped-phi4-v": Variant(
        _flat("Phi4ForCausalLMV", "phi4-siglip") | {"rope_scaling": None, "original_max_position_embeddings": 512},
        dtype="float16",
        tokenizer="spm",
        more_tensors=PROJECTED,
        no_logits=SAME,
    ),
    "wrapped-stablelm-epoch": Variant(
        _flat("StableLMEpochForCausalLM", "stablelm_epoch") | {"norm_eps": 1e-5, "rope_pct": 0.25},
        no_logits=SAME,
        own_keys=("stablelm.use_parallel_residual",),
    ),
    "wrapped-obsidian": Variant(
        _flat("LlavaStableLMEpochForCausalLM", "stablelm_epoch") | {"norm_eps": 1e-5, "rope_pct": 0.25},
        dtype="float16",
        more_tensors=PROJECTED,
        no_logits=SAME,
        own_keys=("stablelm.use_parallel_residual",),
    ),
    "wrapped-kormo": Variant(_flat("KORMoForCausalLM", "kormo", head_dim=16) | {"rms_norm_eps": 1e-5}, no_logits=SAME),
}
