"""Gemma 3n: with and without shared layers, alone and inside a larger model, both forms of the rotary bases."""

from typing import Any

from tests.families import Variant
from tests.families.gemma3 import LINEAR
from tests.support.checkpoints import decoder_config

_SPARSE, _OWN = 10, 20  # layers with sparse activations, and with keys of their own


def config(layers: int = 5, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Gemma 3n. What llama.cpp has as constants is as in the published models.

    The feed-forward part is wide: llama.cpp divides by one value less when it takes a standard deviation.
    """
    fixed = {"head_dim": 32, "ffn": 2048, "tokenizer": "spm", "rope_theta": 1000000.0}
    made = decoder_config("Gemma3nForCausalLM", "gemma3n_text", layers=layers, **{**fixed, **shape})
    return made | {
        "hidden_activation": "gelu_pytorch_tanh",
        "sliding_window": 16,
        "rope_local_base_freq": 10000.0,
        "intermediate_size": [made["intermediate_size"]] * layers,
        "layer_types": ["sliding_attention" if (layer + 1) % 5 else "full_attention" for layer in range(layers)],
        "activation_sparsity_pattern": [0.95 if layer < _SPARSE else 0.0 for layer in range(layers)],
        "num_kv_shared_layers": max(0, layers - _OWN),
        "vocab_size_per_layer_input": made["vocab_size"],
        "hidden_size_per_layer_input": 256,
        "altup_active_idx": 0,
        "altup_coef_clip": 120.0,
        "altup_correct_scale": True,
        "altup_num_inputs": 4,
        "final_logit_softcapping": 30.0,
        "laurel_rank": 64,
        "pad_token_id": 0,
    }


def inside(text: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the model that sees and hears; its last tokens have no embedding per layer."""
    text = {key: value for key, value in text.items() if key not in ("architectures", "bos_token_id", "eos_token_id")}
    return {
        "architectures": ["Gemma3nForConditionalGeneration"],
        "model_type": "gemma3n",
        "text_config": text | {"vocab_size_per_layer_input": text["vocab_size"] - 32},
        "bos_token_id": 1,
        "eos_token_id": [2, 106],
    }


def transformers5() -> dict[str, Any]:
    """Return the config as transformers 5 writes it."""
    made = config()
    for key in ("rope_theta", "rope_local_base_freq"):
        del made[key]
    return made | {
        "dtype": "bfloat16",
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
        },
    }


SEEING = {
    "model.vision_tower.timm_model.conv_stem.conv.weight": (8, 3, 3, 3),
    "model.audio_tower.conformer.0.norm.weight": (32,),
    "model.embed_vision.embedding.weight": (8, 32),
}
_SPM = {"tokenizer": "spm", "qk_norm": 0.35}

VARIANTS = {
    "gemma3n-spm-bf16": Variant(config(), **_SPM),
    "gemma3n-shared-f32": Variant(
        config(25, kv_heads=1, head_dim=8, ffn=1024),
        dtype="float32",
        shards=2,
        arithmetic=("gelu_table", "sample_deviation"),  # which 25 random layers amplify
        **_SPM,
    ),
    "gemma3n-linear-f16": Variant(config(kv_heads=4) | {"rope_scaling": LINEAR}, dtype="float16", **_SPM),
    "gemma3n-bpe": Variant(config(tokenizer="bpe"), qk_norm=0.35),
    "gemma3n-transformers5": Variant(transformers5(), **_SPM),
    "gemma3n-inside": Variant(
        inside(config()),
        prefix="model.language_model.",
        bare=True,
        more_tensors=SEEING,
        no_logits="the class needs its parts that see and hear",
        **_SPM,
    ),
}
