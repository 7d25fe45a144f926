"""Dense families: what llama.cpp does not compute of them is refused."""

from typing import Any

import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from tests.families import falcon, mpt, starcoder, starcoder2


def complete(config: dict[str, Any]) -> dict[str, Any]:
    return complete_config(find_family(config["architectures"][0]), config)


def test_falcon_counts_one_key_where_its_first_architecture_shares_it() -> None:
    config = complete(falcon.config(num_kv_heads=4))
    shapes = {each.name: each.shape for each in find_family("FalconForCausalLM").tensors(config)}
    assert shapes["transformer.h.0.self_attention.query_key_value.weight"] == ((4 + 2) * 16, 64)


@pytest.mark.parametrize(
    ("config", "change"),
    [
        (falcon.config(), {"alibi": True}),
        (falcon.config(), {"bias": True}),
        (falcon.config(), {"parallel_attn": False}),
        (falcon.config(), {"num_attention_heads": 5}),
        (starcoder.config(), {"multi_query": False}),
        (starcoder2.config(), {"use_bias": False}),
        (starcoder2.config(), {"head_dim": 32}),
        (mpt.config({"qk_ln": True}), {}),
        (mpt.config({"softmax_scale": 0.5}), {}),
        (mpt.config(), {"logit_scale": "inv_sqrt_d_model"}),
        (mpt.config(), {"ffn_config": {"ffn_type": "mptglu"}}),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(config: dict[str, Any], change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"config\.json"):
        complete(config | change)
