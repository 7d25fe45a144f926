"""Gemma 4: with an embedding for each layer and shared layers, and without; keys as values; both forms of the sizes."""

from typing import Any

from tests.families import Variant
from tests.support.checkpoints import decoder_config

ROPE = {
    "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
    "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
}


def config(layers: int = 3, group: int = 3, **shape: Any) -> dict[str, Any]:
    """Return the config.json of a small Gemma 4 of text alone: the last layer of each group has no window."""
    fixed = {"head_dim": 8, "epsilon": 1e-6, "tokenizer": "spm"}
    made = decoder_config("Gemma4ForCausalLM", "gemma4_text", layers=layers, **{**fixed, **shape})
    del made["rope_theta"]
    return made | {
        "hidden_activation": "gelu_pytorch_tanh",
        "global_head_dim": 2 * made["head_dim"],
        "sliding_window": 16,
        "layer_types": ["sliding_attention" if (layer + 1) % group else "full_attention" for layer in range(layers)],
        "rope_parameters": ROPE,
        "num_kv_shared_layers": 0,
        "attention_k_eq_v": False,
        "num_global_key_value_heads": None,
        "hidden_size_per_layer_input": 0,
        "vocab_size_per_layer_input": made["vocab_size"],
        "use_double_wide_mlp": False,
        "final_logit_softcapping": 30.0,
        "enable_moe_block": False,
        "num_experts": None,
        "top_k_experts": None,
        "moe_intermediate_size": None,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }


def small(**more: Any) -> dict[str, Any]:
    """Return the config of a member for phones: an embedding for each layer, shared layers, wider where shared."""
    return config(**{"layers": 4, "group": 2, "head_dim": 4, **more}) | {
        "hidden_size_per_layer_input": 32,
        "num_kv_shared_layers": 2,
        "use_double_wide_mlp": True,
    }


def inside(text: dict[str, Any]) -> dict[str, Any]:
    """Return the config of the model that sees and hears."""
    text = {key: value for key, value in text.items() if key not in ("architectures", "bos_token_id", "eos_token_id")}
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "text_config": text,
        "tie_word_embeddings": True,
        "bos_token_id": 2,
        "eos_token_id": [1, 106],
    }


def by_layer(made: dict[str, Any], **own: int) -> dict[str, Any]:
    """Return the same config with the sizes of some layers as transformers 5 writes them."""
    kept = {key: value for key, value in made.items() if key not in ("global_head_dim", "num_global_key_value_heads")}
    full = [str(layer) for layer, kind in enumerate(made["layer_types"]) if kind == "full_attention"]
    return kept | {"per_layer_config": {layer: {"head_dim": made["global_head_dim"], **own} for layer in full}}


SEEING = {
    "model.vision_tower.encoder.layers.0.layer_scalar": (1,),
    "model.audio_tower.layers.0.norm.weight": (32,),
    "model.embed_vision.embedding_projection.weight": (64, 32),
}
_RAW = {"tokenizer": "write_gemma4_tokenizer", "transformers": 5, "qk_norm": 0.35}

VARIANTS = {
    "gemma4-small-bf16": Variant(small(), **_RAW),
    "gemma4-keys-as-values-f32": Variant(
        config(heads=8, kv_heads=4) | {"attention_k_eq_v": True, "num_global_key_value_heads": 2},
        dtype="float32",
        shards=2,
        **_RAW,
    ),
    "gemma4-f16": Variant(config(kv_heads=1), dtype="float16", **_RAW),
    "gemma4-without-cap": Variant(
        config() | {"final_logit_softcapping": None}, own_keys=("gemma4.final_logit_softcapping",), **_RAW
    ),
    "gemma4-deep-small": Variant(
        small(layers=15, group=5, hidden=256, heads=8, kv_heads=1, head_dim=32, ffn=512) | {"num_kv_shared_layers": 5},
        **_RAW,
    ),
    "gemma4-deep-keys-as-values": Variant(
        config(layers=12, group=6, hidden=320, heads=8, kv_heads=4, head_dim=64, ffn=640)
        | {"attention_k_eq_v": True, "num_global_key_value_heads": 1},
        dtype="float32",
        **_RAW,
    ),
    "gemma4-by-layer": Variant(
        by_layer(config() | {"attention_k_eq_v": True}, num_key_value_heads=4),
        **_RAW,
    ),
    "gemma4-inside": Variant(
        inside(small()),
        prefix="model.language_model.",
        bare=True,
        more_tensors=SEEING,
        no_logits="the class needs its parts that see and hear",
        **_RAW,
    ),
}
