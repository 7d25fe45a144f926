"""DeepseekV2ForCausalLM, of which DeepSeek-V2-Lite: latent attention and experts.

Source: conversion/deepseek.py and src/models/deepseek2.cpp of the pinned llama.cpp.
"""

from collections.abc import Iterator

import gguf
import msgspec

from quant.base.errors import UserError
from quant.convert.families.base import SILU, Config, Family, is_tied, n_heads, need, number, rope_parameters
from quant.convert.families.experts import Experts, after_dense, shared_by_count
from quant.convert.families.keys import write_common_keys
from quant.convert.families.latent import latent_attention
from quant.convert.families.planned import Planned

EXPERTS = Experts(
    n_experts="n_routed_experts",
    shared="mlp.shared_experts",
    n_ff_shared=shared_by_count("n_shared_experts"),
    is_dense=after_dense("first_k_dense_replace"),
)
_LITE_LAYERS = (26, 27)  # whose files llama.cpp opens without a low rank of the queries


def tensors(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors."""
    yield from _tensors(config, EXPERTS)


def _tensors(config: Config, experts: Experts) -> Iterator[Planned]:
    n_embd, n_vocab = need(config, "hidden_size"), need(config, "vocab_size")
    yield Planned(name="model.embed_tokens.weight", shape=(n_vocab, n_embd))
    for layer in range(need(config, "num_hidden_layers")):
        yield Planned(name=f"model.layers.{layer}.input_layernorm.weight", shape=(n_embd,))
        yield from latent_attention(config, layer)
        yield Planned(name=f"model.layers.{layer}.post_attention_layernorm.weight", shape=(n_embd,))
        yield from experts(config, layer)
    yield Planned(name="model.norm.weight", shape=(n_embd,))
    yield Planned(name="lm_head.weight", shape=(n_vocab, n_embd), optional=is_tied(config))


def tensors_with_bias(config: Config) -> Iterator[Planned]:
    """Yield the config's tensors, with a bias that is added to the scores where experts are chosen."""
    yield from _tensors(config, msgspec.structs.replace(EXPERTS, score_bias="gate.e_score_correction_bias"))


def write_keys(writer: gguf.GGUFWriter, config: Config, file_type: int) -> None:
    """Add the common keys, for one head of keys and values, then those of latent attention and of the experts."""
    rank, n_rope = need(config, "kv_lora_rank"), need(config, "qk_rope_head_dim")
    write_common_keys(writer, {**config, "num_key_value_heads": 1}, file_type)
    has_experts = config.get("n_routed_experts") is not None
    writer.add_leading_dense_block_count(
        int(config["first_k_dense_replace"]) if has_experts else need(config, "num_hidden_layers")
    )
    writer.add_vocab_size(need(config, "vocab_size"))
    if config.get("q_lora_rank") is not None:
        writer.add_q_lora_rank(need(config, "q_lora_rank"))
    writer.add_kv_lora_rank(rank)
    writer.add_key_length(rank + n_rope)
    writer.add_value_length(rank)
    writer.add_key_length_mla(need(config, "qk_nope_head_dim") + n_rope)
    writer.add_value_length_mla(need(config, "v_head_dim"))
    writer.add_expert_feed_forward_length(need(config, "moe_intermediate_size" if has_experts else "intermediate_size"))
    if has_experts:
        writer.add_expert_count(need(config, "n_routed_experts"))
    writer.add_expert_shared_count(need(config, "n_shared_experts") if config.get("n_shared_experts") else 0)
    if config.get("routed_scaling_factor") is not None:
        writer.add_expert_weights_scale(number(config, "routed_scaling_factor"))
    if config.get("norm_topk_prob"):
        writer.add_expert_weights_norm(True)
    writer.add_rope_dimension_count(n_rope)
    if (scale := rope_parameters(config).get("mscale_all_dim")) is not None:
        writer.add_rope_scaling_yarn_log_mul(0.1 * number({"mscale_all_dim": scale}, "mscale_all_dim"))


def check(config: Config) -> None:
    """Refuse what llama.cpp takes from the number of layers.

    Raises:
        UserError: queries without a low rank in a model that is none of the small ones.
    """
    n_layers = need(config, "num_hidden_layers")
    if config.get("q_lora_rank") is None and n_layers not in _LITE_LAYERS:
        raise UserError(
            f"config.json has no q_lora_rank and {n_layers} layers; llama.cpp's deepseek2 takes such queries "
            f"in models of {' or '.join(map(str, _LITE_LAYERS))} layers only"
        )


# Settings of both classes.
COMPUTED = {
    "hidden_act": SILU,
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "moe_layer_freq": (None, 1),
}

FAMILY = Family(
    architectures=("DeepseekV2ForCausalLM",),
    model_types=("deepseek_v2",),
    arch="deepseek2",
    computed={
        **COMPUTED,
        "topk_method": (None, "greedy"),
        "scoring_func": (None, "softmax"),
        "norm_topk_prob": (None, False),
    },
    defaults={  # transformers' DeepseekV2Config (4.57)
        "num_key_value_heads": n_heads,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "first_k_dense_replace": 0,
        "kv_lora_rank": 512,
        "n_routed_experts": 64,
        "n_shared_experts": 2,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "head_dim": lambda config: need(config, "qk_rope_head_dim"),
        "routed_scaling_factor": 1.0,
        "v_head_dim": 128,
        "moe_intermediate_size": 1407,
    },
    check=check,
    tensors=tensors,
    write_keys=write_keys,
)
