"""Configs that llama.cpp's graphs cannot follow are refused; what a config omits is its class's."""

from typing import Any

import gguf
import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from tests.families import variants


def config_of(name: str) -> dict[str, Any]:
    """Return the config of a family's first variant."""
    return next(variant.config for key, variant in variants().items() if key.startswith(f"{name}-"))


def complete(config: dict[str, Any]) -> dict[str, Any]:
    return complete_config(find_family(config["architectures"][0]), config)


def keys(config: dict[str, Any]) -> dict[str, Any]:
    family = find_family(config["architectures"][0])
    writer = gguf.GGUFWriter(None, family.arch)
    family.early_keys(writer, complete(config))
    family.write_keys(writer, complete(config), 0)
    return {key.removeprefix(f"{family.arch}."): value.value for part in writer.kv_data for key, value in part.items()}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("arcee", {"hidden_act": "silu"}, "hidden_act"),
        ("arcee", {"mlp_bias": True}, "mlp_bias"),
        ("ernie4_5", {"use_bias": True}, "use_bias"),
        ("hunyuan-dense", {"attention_bias": True}, "attention_bias"),
        ("hunyuan-dense", {"head_dim": 2}, "more than 2"),
        ("hunyuan-dense", {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "alpha = None"),
        ("exaone", {"activation_function": "gelu"}, "activation_function"),
        ("mellum", {"mlp_layer_types": ["dense"] * 4}, "all have experts"),
        ("mellum", {"rope_parameters": {"sliding_attention": {"rope_theta": 1.0}}}, "the same rope_theta"),
        ("plamo3", {"rope_scaling_factor": 4}, "rope_scaling_factor"),
        ("rwkv6qwen2", {"num_attention_heads": 3}, "no multiple"),
        ("exaone4", {"sliding_window": 16}, "no other number"),
        ("exaone4", {"head_dim": 32}, "in a width of 64"),
        ("seed_oss", {"attention_out_bias": True}, "attention_out_bias"),
        ("olmo3", {"tie_word_embeddings": True}, "output matrix of its own"),
        ("olmo3", {"head_dim": 32}, "in a width of 64"),
        ("olmo3", {"layer_types": ["sliding_attention"]}, "layer_types"),
        ("qwen2vl", {"rope_scaling": None}, "lacks mrope_section"),
        ("qwen2vl", {"rope_scaling": {"type": "mrope", "mrope_section": [1] * 5}}, "list of three numbers"),
        ("chatglm", {"head_dim": 32}, "in a width of 64"),
        ("chatglm", {"partial_rotary_factor": 0.2}, "3 rotary values"),
        ("pangu", {"bias": False}, "bias = false"),
        ("apertus", {"tie_word_embeddings": True}, "output matrix of its own"),
        ("plm", {"q_lora_rank": 8}, "q_lora_rank"),
        ("plm", {"num_key_value_heads": 1}, "for each head"),
        ("plm", {"tie_word_embeddings": False}, "tie_word_embeddings"),
        ("iquest", {"clip_qkv": 8}, "clip_qkv"),
        ("nanbeige", {"num_loops": 300}, "600 layers in 300 loops"),
        ("nanbeige", {"loop_share_kv": True}, "loop_share_kv"),
        ("paddleocr", {"rope_scaling": None}, "lacks mrope_section"),
        ("hunyuan-vl", {"rope_scaling": None}, "lacks xdrope_section"),
        ("hunyuan-vl", {"num_experts": 8}, "num_experts"),
        ("spark2_5", {"headwise_attn_output_gate": False}, "headwise_attn_output_gate"),
        ("spark2_5", {"layer_types": ["full_attention"]}, "layer_types"),
        ("deci", {"block_configs": [{}]}, "block_configs"),
        ("deci", {"num_key_value_heads_per_layer": [1]}, "list of 3 numbers"),
        ("maincoder", {"intermediate_size_mlp": 64}, "which differ"),
        ("granite-swa", {"layer_rope_theta": [0, 1.0, 1.0, 1.0, 1.0]}, "layer_rope_theta"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(name: str, changes: dict[str, Any], message: str) -> None:
    keys(config_of(name))
    with pytest.raises(UserError, match=message):
        keys(config_of(name) | changes)


def test_ministral_needs_the_rope_that_llama_cpp_assumes() -> None:
    config = next(variants()[name].config for name in variants() if name == "mistral3-ministral-alone")
    rope = config["rope_parameters"]
    assert keys(config)["attention.temperature_scale"] == rope["llama_4_scaling_beta"]
    for changed in ({"rope_type": "linear"}, {"mscale": 2.0}):
        with pytest.raises(UserError, match=f"config.json has {next(iter(changed))}"):
            keys(config | {"rope_parameters": rope | changed})


def test_mistral4_inside_the_same_class_is_refused() -> None:
    config = config_of("mistral3")
    with pytest.raises(UserError, match="mistral4"):
        complete(config | {"text_config": config["text_config"] | {"model_type": "mistral4"}})


def test_alpha_raises_the_base_and_the_context() -> None:
    config = config_of("hunyuan-dense")  # alpha 1000, heads of 32 values
    found = keys(config)
    assert found["rope.freq_base"] == pytest.approx(10000.0 * 1000.0 ** (32 / 30))
    assert (found["context_length"], found["rope.scaling.type"]) == (256 * 1024, "none")
    assert keys(config | {"max_position_embeddings": 4096})["context_length"] == 4096


def test_a_window_that_the_class_has_by_default_counts() -> None:
    config = config_of("olmo3")
    del config["sliding_window"]
    assert keys(config)["attention.sliding_window"] == 4096
    assert keys(config)["attention.sliding_window_pattern"] == [True, True, True, False, True]


def test_sections_of_images_are_four() -> None:
    assert keys(config_of("qwen3vl"))["rope.dimension_sections"] == [6, 5, 5, 0]


def test_deepstack_layers_are_the_class_s_by_default() -> None:
    config = config_of("qwen3vl")
    assert keys(config | {"vision_config": None})["n_deepstack_layers"] == 3
    with pytest.raises(UserError, match="vision_config"):
        keys(config | {"vision_config": {"deepstack_visual_indexes": 3}})


def test_apertus_scales_as_its_class_does_where_the_config_names_no_scaling() -> None:
    config = {key: value for key, value in config_of("apertus").items() if key != "rope_scaling"}
    family = find_family("ApertusForCausalLM")
    assert list(family.extra_tensors(complete(config))) == ["rope_freqs.weight"]
    assert not family.extra_tensors(complete(config | {"rope_parameters": {"rope_theta": 10000.0}}))
