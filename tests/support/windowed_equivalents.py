"""Models whose layers have a window, written as models of families that transformers has."""

from pathlib import Path

import numpy as np

from tests.support.equivalents import Tensors, read_whole, write_whole

_NORMS = {
    "pre_mixer_norm": ("input_layernorm", 1.0),
    "post_mixer_norm": ("post_attention_layernorm", 1 / 5),
    "pre_mlp_norm": ("pre_feedforward_layernorm", 1.0),
    "post_mlp_norm": ("post_feedforward_layernorm", 1 / 5**1.5),
}


def plamo3_as_gemma3(checkpoint: Path, target: Path) -> Path:
    """Write a PLaMo 3 as a Gemma 3 with SiLU, whose norms are all stored less one, and whose embedding is scaled."""
    config, tensors = read_whole(checkpoint)
    heads, heads_kv, size = config["num_attention_heads"], config["num_key_value_heads"], config["head_dim"]
    embedding = tensors["model.embed_tokens.weight"]
    made: Tensors = {
        "model.embed_tokens.weight": embedding / np.float32(config["hidden_size"] ** 0.5),
        "model.norm.weight": tensors["model.norm.weight"],
        "lm_head.weight": tensors.get("lm_head.weight", embedding),
    }
    for layer in range(config["num_hidden_layers"]):
        old, new = f"model.layers.layers.{layer}", f"model.layers.{layer}"
        parts = np.split(tensors[f"{old}.mixer.qkv_proj.weight"], [heads * size, (heads + heads_kv) * size])
        for part, values in zip("qkv", parts, strict=True):
            made[f"{new}.self_attn.{part}_proj.weight"] = values
        for part, values in zip(("gate", "up"), np.split(tensors[f"{old}.mlp.gate_up_proj.weight"], 2), strict=True):
            made[f"{new}.mlp.{part}_proj.weight"] = values
        made[f"{new}.self_attn.o_proj.weight"] = tensors[f"{old}.mixer.o_proj.weight"]
        made[f"{new}.mlp.down_proj.weight"] = tensors[f"{old}.mlp.down_proj.weight"]
        for part in "qk":
            made[f"{new}.self_attn.{part}_norm.weight"] = tensors[f"{old}.mixer.{part}_norm.weight"]
        for name, (other, offset) in _NORMS.items():
            made[f"{new}.{other}.weight"] = tensors[f"{old}.{name}.weight"] + np.float32(offset - 1.0)
    changes = {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "hidden_activation": "silu",
        "query_pre_attn_scalar": size,
        "sliding_window": config["window_size"],
        "rope_local_base_freq": config["rope_local_theta"],
        "tie_word_embeddings": False,
    }
    return write_whole(target, config | changes, made)
