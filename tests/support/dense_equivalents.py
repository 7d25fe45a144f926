"""Dense models that transformers lacks, written as models of other families: other names, one matrix cut into three."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.support.equivalents import Tensors, read_whole, write_whole

_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False}


def as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a model whose tensors have llama's names as a Llama."""
    config, tensors = read_whole(checkpoint)
    biases = {"attention_bias": bool(config.get("qkv_bias")), "mlp_bias": bool(config.get("bias"))}
    return write_whole(target, config | _LLAMA | biases, tensors)


def internlm2_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write an InternLM2 as a Llama: of each group its queries, its key, its value."""
    config, tensors = read_whole(checkpoint)
    names = {
        "attention.wo": "self_attn.o_proj",
        "feed_forward.w1": "mlp.gate_proj",
        "feed_forward.w3": "mlp.up_proj",
        "feed_forward.w2": "mlp.down_proj",
        "attention_norm": "input_layernorm",
        "ffn_norm": "post_attention_layernorm",
    }
    made = _named(tensors, config["num_hidden_layers"], "model.layers", names)
    made["model.embed_tokens.weight"] = tensors["model.tok_embeddings.weight"]
    made["model.norm.weight"] = tensors["model.norm.weight"]
    made["lm_head.weight"] = tensors["output.weight"]
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    n_embd = config["hidden_size"]
    for layer in range(config["num_hidden_layers"]):
        whole = tensors[f"model.layers.{layer}.attention.wqkv.weight"]
        parts = whole.reshape(groups, heads // groups + 2, n_embd // heads, n_embd)
        for part, values in (("q", parts[:, :-2]), ("k", parts[:, -2]), ("v", parts[:, -1])):
            made[f"model.layers.{layer}.self_attn.{part}_proj.weight"] = values.reshape(-1, n_embd)
    return write_whole(target, config | _LLAMA, made)


def codeshell_as_starcoder2(checkpoint: Path, target: Path) -> Path:
    """Write a CodeShell as a StarCoder2."""
    config, tensors = read_whole(checkpoint)
    names = {
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        "attn.c_proj": "self_attn.o_proj",
        "mlp.c_fc": "mlp.c_fc",
        "mlp.c_proj": "mlp.c_proj",
    }
    made = _named(tensors, config["n_layer"], "transformer.h", names)
    made["lm_head.weight"] = tensors["lm_head.weight"]
    made["model.embed_tokens.weight"] = tensors.get("transformer.wte.weight", tensors["lm_head.weight"])
    n_embd, n_kv = config["n_embd"], config["n_embd"] // config["n_head"] * config["num_query_groups"]
    for kind in ("weight", "bias"):
        made[f"model.norm.{kind}"] = tensors[f"transformer.ln_f.{kind}"]
        for layer in range(config["n_layer"]):
            whole = tensors[f"transformer.h.{layer}.attn.c_attn.{kind}"]
            for part, values in zip("qkv", np.split(whole, [n_embd, n_embd + n_kv]), strict=True):
                made[f"model.layers.{layer}.self_attn.{part}_proj.{kind}"] = values
    made_config = {
        "architectures": ["Starcoder2ForCausalLM"],
        "model_type": "starcoder2",
        "tie_word_embeddings": False,
        "vocab_size": config["vocab_size"],
        "hidden_size": n_embd,
        "intermediate_size": len(made["model.layers.0.mlp.c_fc.bias"]),
        "num_hidden_layers": config["n_layer"],
        "num_attention_heads": config["n_head"],
        "num_key_value_heads": config["num_query_groups"],
        "norm_epsilon": config["layer_norm_epsilon"],
        "max_position_embeddings": config["n_positions"],
    }
    return write_whole(target, made_config, made)


def orion_as_stablelm(checkpoint: Path, target: Path) -> Path:
    """Write an Orion as a StableLM all of whose head dimensions are rotated."""
    config, tensors = read_whole(checkpoint)
    changes = {
        "architectures": ["StableLmForCausalLM"],
        "model_type": "stablelm",
        "layer_norm_eps": config["rms_norm_eps"],
        "partial_rotary_factor": 1.0,
        "use_qkv_bias": False,
    }
    return write_whole(target, config | changes, tensors)


def baichuan_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a Baichuan with rotary positions as a Llama."""
    config, tensors = read_whole(checkpoint)
    for layer in range(config["num_hidden_layers"]):
        block = f"model.layers.{layer}.self_attn"
        for part, values in zip("qkv", np.split(tensors.pop(f"{block}.W_pack.weight"), 3), strict=True):
            tensors[f"{block}.{part}_proj.weight"] = values
    return write_whole(target, config | _LLAMA, tensors)


def baichuan2_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a Baichuan 2, whose output matrix has rows of length one, as a Llama."""
    config, tensors = read_whole(baichuan_as_llama(checkpoint, target))
    output = tensors["lm_head.weight"]
    tensors["lm_head.weight"] = output / np.linalg.norm(output, axis=1, keepdims=True)
    return write_whole(target, config, tensors)


def jais2_as_nemotron(checkpoint: Path, target: Path) -> Path:
    """Write a Jais 2 as a Nemotron, which stores the weights of its norms as weight - 1."""
    config, tensors = read_whole(checkpoint)
    tensors.setdefault("lm_head.weight", tensors["model.embed_tokens.weight"])
    for name, values in tensors.items():
        if name.endswith("norm.weight"):
            tensors[name] = values - np.float32(1)
    rope = config.get("rope_parameters", config)
    changes = {
        "architectures": ["NemotronForCausalLM"],
        "model_type": "nemotron",
        "norm_eps": config["layer_norm_eps"],
        "partial_rotary_factor": 1.0,
        "rope_theta": rope["rope_theta"],
        "rope_parameters": None,
        "tie_word_embeddings": False,
    }
    return write_whole(target, config | changes, tensors)


def _named(tensors: Tensors, n_layers: int, old_prefix: str, names: Mapping[str, str]) -> Tensors:
    """Return the layers' tensors by llama's names."""
    made: Tensors = {}
    for layer in range(n_layers):
        for old, new in names.items():
            for kind in ("weight", "bias"):
                if (found := tensors.get(f"{old_prefix}.{layer}.{old}.{kind}")) is not None:
                    made[f"model.layers.{layer}.{new}.{kind}"] = found
    return made
