"""Models that transformers lacks, written as models of other families that compute the same.

Scales of embeddings, residuals and logits go into the matrices beside them, so an equivalent has its own output matrix.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from quant.convert.checkpoint import open_checkpoint
from quant.gguf_io.floats import convert_floats

Tensors = dict[str, NDArray[np.float32]]

_SEEING = ("vis", "vit.", "projector", "mlp_AR")  # in names of tensors that are not the text model's


def minicpm_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a MiniCPM as a Llama."""
    config, tensors = read_whole(checkpoint)
    changes = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "tie_word_embeddings": False}
    return write_whole(target, config | changes, _unscaled(config, tensors))


def minicpm3_as_deepseek2(checkpoint: Path, target: Path) -> Path:
    """Write a MiniCPM3 as a DeepSeek V2 without experts, whose rotary halves alternate."""
    config, tensors = read_whole(checkpoint)
    n_turned, n_plain = config["qk_rope_head_dim"], config["qk_nope_head_dim"]
    alternate = np.arange(n_turned).reshape(2, -1).T.reshape(-1)
    for name, values in tensors.items():
        if name.endswith("q_b_proj.weight"):
            heads = values.reshape(config["num_attention_heads"], n_plain + n_turned, -1)
            heads[:, n_plain:] = heads[:, n_plain:][:, alternate]
        elif name.endswith("kv_a_proj_with_mqa.weight"):
            values[config["kv_lora_rank"] :] = values[config["kv_lora_rank"] :][alternate]
    changes = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "tie_word_embeddings": False,
        "first_k_dense_replace": config["num_hidden_layers"],
        "v_head_dim": config.get("v_head_dim") or config["hidden_size"] // config["num_attention_heads"],
        "head_dim": n_turned,
    }
    return write_whole(target, config | changes, _unscaled(config, tensors))


def qwen_as_qwen2(checkpoint: Path, target: Path) -> Path:
    """Write a Qwen as a Qwen2: three matrices for one, and other names."""
    config, tensors = read_whole(checkpoint)
    made: Tensors = {
        "model.embed_tokens.weight": tensors["transformer.wte.weight"],
        "model.norm.weight": tensors["transformer.ln_f.weight"],
        "lm_head.weight": tensors["lm_head.weight"],
    }
    names = {
        "ln_1": "input_layernorm",
        "ln_2": "post_attention_layernorm",
        "attn.c_proj": "self_attn.o_proj",
        "mlp.w1": "mlp.up_proj",
        "mlp.w2": "mlp.gate_proj",
        "mlp.c_proj": "mlp.down_proj",
    }
    for layer in range(config["num_hidden_layers"]):
        for old, new in names.items():
            made[f"model.layers.{layer}.{new}.weight"] = tensors[f"transformer.h.{layer}.{old}.weight"]
        for kind in ("weight", "bias"):
            parts = np.split(tensors[f"transformer.h.{layer}.attn.c_attn.{kind}"], 3)
            for part, values in zip("qkv", parts, strict=True):
                made[f"model.layers.{layer}.self_attn.{part}_proj.{kind}"] = values
    made_config = {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "tie_word_embeddings": False,
        "num_key_value_heads": config["num_attention_heads"],
        "intermediate_size": config["intermediate_size"] // 2,
        "rms_norm_eps": config["layer_norm_epsilon"],
        "rope_theta": config["rotary_emb_base"],
    }
    kept = ("hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "max_position_embeddings")
    return write_whole(target, made_config | {key: config[key] for key in kept}, made)


def openelm_as_qwen3(checkpoint: Path, target: Path) -> Path:
    """Write an OpenELM as a Qwen3: narrow layers get heads and feed-forward rows of zeros, which add nothing.

    All layers must have as many query heads per key.
    """
    config, tensors = read_whole(checkpoint)
    n_layers, size = config["num_transformer_layers"], config["head_dim"]
    queries, keys = config["num_query_heads"], config["num_kv_heads"]
    widths = [len(tensors[f"transformer.layers.{layer}.ffn.proj_1.weight"]) // 2 for layer in range(n_layers)]
    made: Tensors = {
        "model.embed_tokens.weight": tensors["transformer.token_embeddings.weight"],
        "model.norm.weight": tensors["transformer.norm.weight"],
    }
    for layer in range(n_layers):
        old, new = f"transformer.layers.{layer}", f"model.layers.{layer}"
        bounds = [queries[layer] * size, (queries[layer] + keys[layer]) * size]
        parts = np.split(tensors[f"{old}.attn.qkv_proj.weight"], bounds)
        for part, heads, values in zip("qkv", (queries, keys, keys), parts, strict=True):
            made[f"{new}.self_attn.{part}_proj.weight"] = _longer(values, max(heads) * size)
        for part, values in zip(("gate", "up"), np.split(tensors[f"{old}.ffn.proj_1.weight"], 2), strict=True):
            made[f"{new}.mlp.{part}_proj.weight"] = _longer(values, max(widths))
        out, down = tensors[f"{old}.attn.out_proj.weight"], tensors[f"{old}.ffn.proj_2.weight"]
        made[f"{new}.self_attn.o_proj.weight"] = _longer(out.T, max(queries) * size).T
        made[f"{new}.mlp.down_proj.weight"] = _longer(down.T, max(widths)).T
        for part in "qk":
            made[f"{new}.self_attn.{part}_norm.weight"] = tensors[f"{old}.attn.{part}_norm.weight"]
        made[f"{new}.input_layernorm.weight"] = tensors[f"{old}.attn_norm.weight"]
        made[f"{new}.post_attention_layernorm.weight"] = tensors[f"{old}.ffn_norm.weight"]
    made_config = {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "tie_word_embeddings": True,
        "vocab_size": config["vocab_size"],
        "hidden_size": config["model_dim"],
        "intermediate_size": max(widths),
        "num_hidden_layers": n_layers,
        "num_attention_heads": max(queries),
        "num_key_value_heads": max(keys),
        "head_dim": size,
        "rms_norm_eps": 1e-6,
        "rope_theta": config["rope_freq_constant"],
        "max_position_embeddings": config["max_context_length"],
    }
    return write_whole(target, made_config, made)


def exaone_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write an EXAONE 3 as a Llama: other names."""
    config, tensors = read_whole(checkpoint)
    names = {
        "transformer.wte.": "model.embed_tokens.",
        "transformer.ln_f.": "model.norm.",
        "transformer.h.": "model.layers.",
        ".ln_1.": ".input_layernorm.",
        ".ln_2.": ".post_attention_layernorm.",
        ".attn.attention.out_proj.": ".self_attn.o_proj.",
        ".attn.attention.": ".self_attn.",
        ".mlp.c_fc_0.": ".mlp.gate_proj.",
        ".mlp.c_fc_1.": ".mlp.up_proj.",
        ".mlp.c_proj.": ".mlp.down_proj.",
    }
    changes = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": config["num_layers"],
        "rms_norm_eps": config["layer_norm_epsilon"],
        "hidden_act": config["activation_function"],
    }
    return write_whole(target, _rope4(config | changes), _renamed(tensors, names))


def iquest_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write an IQuest-Coder as a Llama."""
    config, tensors = read_whole(checkpoint)
    return write_whole(target, _rope4(config | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}), tensors)


def pangu_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a Pangu Embedded as a Llama whose attention has biases."""
    config, tensors = read_whole(checkpoint)
    changes = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": True}
    return write_whole(target, _rope4(config | changes), tensors)


def nanbeige_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a Nanbeige without a norm between its loops as a Llama that has each layer several times."""
    config, tensors = read_whole(checkpoint)
    n_layers, loops = config["num_hidden_layers"], config["num_loops"]
    made = {name: values for name, values in tensors.items() if ".layers." not in name}
    for loop in range(loops):
        for layer in range(n_layers):
            old, new = f"model.layers.{layer}.", f"model.layers.{layer + loop * n_layers}."
            made |= {name.replace(old, new): values for name, values in tensors.items() if name.startswith(old)}
    changes = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": n_layers * loops}
    return write_whole(target, _rope4(config | changes), made)


def plm_as_deepseek2(checkpoint: Path, target: Path) -> Path:
    """Write a PLM as a DeepSeek V2 without experts: a gate of the same weights makes of a ReLU its square."""
    config, tensors = read_whole(checkpoint)
    gates = {name.replace("up", "gate"): values for name, values in tensors.items() if name.endswith("up_proj.weight")}
    changes = {
        "architectures": ["DeepseekV2ForCausalLM"],
        "model_type": "deepseek_v2",
        "hidden_act": "relu",
        "q_lora_rank": None,
        "first_k_dense_replace": config["num_hidden_layers"],
        "head_dim": config["qk_rope_head_dim"],
    }
    return write_whole(target, _rope4(config | changes), tensors | gates)


def deci_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write a DeciLM as a Llama whose layers all have as many heads of keys and values as the one with most."""
    config, tensors = read_whole(checkpoint)
    heads_kv = config.pop("num_key_value_heads_per_layer")
    size, most = config["hidden_size"] // config["num_attention_heads"], max(heads_kv)
    for name, values in tensors.items():
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            n_heads = heads_kv[int(name.split(".")[2])]
            repeated = values.reshape(n_heads, size, -1).repeat(most // n_heads, axis=0)
            tensors[name] = repeated.reshape(most * size, -1)
    changes = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_key_value_heads": most}
    return write_whole(
        target, {key: value for key, value in config.items() if key != "rope_scaling"} | changes, tensors
    )


def maincoder_as_hunyuan(checkpoint: Path, target: Path) -> Path:
    """Write a Maincoder as a Hunyuan, whose rotary halves are consecutive."""
    config, tensors = read_whole(checkpoint)
    halves = np.arange(config["head_dim"]).reshape(-1, 2).T.reshape(-1)
    for name, values in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensors[name] = values.reshape(-1, len(halves), values.shape[1])[:, halves].reshape(values.shape)
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            tensors[name] = values[halves]
    names = {".feed_forward.": ".mlp.", ".q_norm.": ".query_layernorm.", ".k_norm.": ".key_layernorm."}
    changes = {"architectures": ["HunYuanDenseV1ForCausalLM"], "model_type": "hunyuan_v1_dense"}
    return write_whole(target, config | changes, _renamed(tensors, names))


def text_as_hunyuan(checkpoint: Path, target: Path) -> Path:
    """Write the text model inside a HunyuanOCR as a dense Hunyuan: text has one place, in all sections the same."""
    return _text_as("HunYuanDenseV1ForCausalLM", "hunyuan_v1_dense", checkpoint, target)


def text_as_llama(checkpoint: Path, target: Path) -> Path:
    """Write the text model inside a PaddleOCR-VL as a Llama: text has one position, in all sections the same."""
    return _text_as("LlamaForCausalLM", "llama", checkpoint, target)


def text_as_mistral(checkpoint: Path, target: Path) -> Path:
    """Write the text model inside a Mistral 3 as a Mistral; up to its original context Ministral 3 scales no query."""
    return _text_as("MistralForCausalLM", "mistral", checkpoint, target)


def text_as_qwen2(checkpoint: Path, target: Path) -> Path:
    """Write the text model inside a Qwen2-VL as a Qwen2: text has one position, in all sections the same."""
    return _text_as("Qwen2ForCausalLM", "qwen2", checkpoint, target)


def text_as_glm4(checkpoint: Path, target: Path) -> Path:
    """Write the text model of a model that sees as a GLM-4-0414, with its biases and the usual width of heads."""
    config, _ = read_whole(checkpoint)
    text = config["text_config"]
    shape = {"attention_bias": True, "head_dim": text["hidden_size"] // text["num_attention_heads"]}
    made = _text_as("Glm4ForCausalLM", "glm4", checkpoint, target)
    path = made / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | shape))
    return made


def text_as_qwen3(checkpoint: Path, target: Path) -> Path:
    """Write the text model inside a Qwen3-VL as a Qwen3."""
    return _text_as("Qwen3ForCausalLM", "qwen3", checkpoint, target)


def _text_as(architecture: str, model_type: str, checkpoint: Path, target: Path) -> Path:
    config, tensors = read_whole(checkpoint)
    inner = {key: value for key, value in config.items() if key not in ("text_config", "vision_config")}
    inner |= config.get("text_config", {})
    kept = {name: values for name, values in tensors.items() if not any(part in name for part in _SEEING)}
    changes = {"architectures": [architecture], "model_type": model_type, "sliding_window": None}
    return write_whole(
        target, _rope4(inner | changes), _renamed(kept, {"language_model.": "", "model.model.": "model."})
    )


def _rope4(config: dict[str, Any]) -> dict[str, Any]:
    """Return a config with its rope settings as transformers 4 has them, without the sections of images."""
    made = {key: value for key, value in config.items() if key not in ("rope_parameters", "rope_scaling")}
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    if "rope_theta" in rope:
        made["rope_theta"] = rope.pop("rope_theta")
    kind = rope.get("rope_type", rope.pop("type", None))
    if "alpha" in rope:
        return made | {"rope_scaling": {"rope_type": "dynamic", "factor": 1.0, "alpha": rope["alpha"]}}
    if "mrope_section" in rope or kind in (None, "default"):
        return made
    return made | {"rope_scaling": {"rope_type": kind, **rope}}


def _renamed(tensors: Tensors, names: dict[str, str]) -> Tensors:
    made = {}
    for name, values in tensors.items():
        new = name
        for old, other in names.items():
            new = new.replace(old, other)
        made[new] = values
    return made


def bitnet_as_transformers(checkpoint: Path, target: Path) -> Path:
    """Write a BitNet as the class that transformers has, with the three values that its weights become."""
    config, tensors = read_whole(checkpoint)
    names = {"self_attn.inner_attn_ln": "self_attn.attn_sub_norm", "mlp.ffn_layernorm": "mlp.ffn_sub_norm"}
    made: Tensors = {}
    for name, values in tensors.items():
        if name.endswith("_proj.weight"):
            scale = np.abs(values).mean(dtype=np.float64)
            made[name] = (np.clip(np.rint(values / scale), -1, 1) * scale).astype(np.float32)
        else:
            old = next((old for old in names if old in name), "")
            made[name.replace(old, names.get(old, ""))] = values
    changes = {"architectures": ["BitNetForCausalLM"], "model_type": "bitnet"}
    return write_whole(target, config | changes, made)


def _longer(values: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    """Add rows of zeros up to a number of rows."""
    return np.concatenate([values, np.zeros((n_rows - len(values), values.shape[1]), dtype=np.float32)])


def _unscaled(config: dict[str, Any], tensors: Tensors) -> Tensors:
    embedding = tensors["model.embed_tokens.weight"]
    residual = config["scale_depth"] / config["num_hidden_layers"] ** 0.5
    logits = config["dim_model_base"] / config["hidden_size"]
    made = dict(tensors)
    made["lm_head.weight"] = tensors.get("lm_head.weight", embedding) * np.float32(logits)
    made["model.embed_tokens.weight"] = embedding * np.float32(config["scale_emb"])
    for name, values in tensors.items():
        if name.endswith(("o_proj.weight", "o_proj.bias", "down_proj.weight")):
            made[name] = values * np.float32(residual)
    return made


def read_whole(checkpoint: Path) -> tuple[dict[str, Any], Tensors]:
    opened = open_checkpoint(checkpoint)
    tensors = {}
    for name, tensor in opened.tensors.items():
        values = convert_floats(tensor.read(0, tensor.n_elements), tensor.dtype, "F32")
        tensors[name] = values.astype(np.float32).reshape(tensor.shape)
    return opened.config, tensors


def write_whole(target: Path, config: dict[str, Any], tensors: Tensors) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(config | {"torch_dtype": "float32"}))
    kept = {name: np.ascontiguousarray(values) for name, values in tensors.items()}
    save_file(kept, target / "model.safetensors", {"format": "pt"})
    return target
