"""Gemma 3n and 4, Qwen3.5 and BitNet: what llama.cpp has as constants, or computes in one form only, is refused."""

from typing import Any

import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family, planned_tensors
from tests.families import variants
from tests.families.gemma4 import ROPE as ROPE4
from tests.families.qwen35 import ROPE


def _config(name: str) -> dict[str, Any]:
    return next(variant.config for key, variant in variants().items() if key.startswith(f"{name}-"))


def _complete(config: dict[str, Any]) -> dict[str, Any]:
    family = find_family(config["architectures"][0])
    complete = complete_config(family, config)
    family.write_keys(_Sink(), complete, 0)  # type: ignore[arg-type]
    return complete


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("gemma3n", {"laurel_rank": 32}, "laurel_rank"),
        ("gemma3n", {"final_logit_softcapping": None}, "always caps by 30"),
        ("gemma3n", {"intermediate_size": [64, 64, 64, 64, 128]}, "one for all layers"),
        ("gemma3n", {"num_kv_shared_layers": 2}, "behind the first 20"),
        ("gemma3n", {"num_kv_shared_layers": 5}, "must be a number of layers"),
        ("gemma3n", {"activation_sparsity_pattern": None}, "0.95 in"),
        ("gemma3n", {"layer_types": ["full_attention"] * 5}, "0 windows"),
        ("gemma4", {"enable_moe_block": True}, "enable_moe_block"),
        ("gemma4", {"num_kv_shared_layers": 1}, "are shared"),
        ("gemma4", {"num_kv_shared_layers": 3}, "are shared"),
        ("gemma4", {"layer_types": ["sliding_attention", "full_attention"] + ["sliding_attention"] * 2}, "last layer"),
        ("gemma4", {"per_layer_config": {"0": {"head_dim": 8}}}, "per_layer_config"),
        ("gemma4", {"rope_parameters": {"full_attention": ROPE4["full_attention"]}}, "sliding_attention"),
        ("gemma4", {"rope_parameters": ROPE4 | {"full_attention": {"rope_type": "linear"}}}, "rope_type"),
        ("qwen35", {"linear_value_head_dim": 8}, "equal ones only"),
        ("qwen35", {"linear_num_value_heads": 3}, "a multiple of"),
        ("qwen35", {"layer_types": ["full_attention"]}, "layer_types"),
        ("qwen35", {"attn_output_gate": False}, "attn_output_gate"),
        ("qwen35", {"rope_parameters": ROPE | {"mrope_section": "x"}}, "list of three numbers"),
        ("bitnet", {"hidden_act": "relu2"}, "hidden_act"),
        ("bitnet", {"tie_word_embeddings": False}, "tie_word_embeddings"),
    ],
)
def test_other_numbers_than_llama_cpps_are_refused(name: str, changes: dict[str, Any], message: str) -> None:
    config = _config(name)
    assert _complete(config)
    with pytest.raises(UserError, match=message):
        _complete(config | changes)


class _Sink:
    """A writer that keeps nothing."""

    arch = "any"

    def __getattr__(self, name: str) -> Any:
        return lambda *values: None


def test_layers_that_share_keys_may_lack_their_own() -> None:
    config = _config("gemma4")  # four layers, of which two share
    family = find_family(config["architectures"][0])
    optional = {each.name for each in planned_tensors(family, _complete(config)) if each.optional}
    parts = ("k_proj", "v_proj", "k_norm")
    shared = {f"model.layers.{layer}.self_attn.{part}.weight" for layer in (2, 3) for part in parts}
    assert optional == shared | {"lm_head.weight"}
