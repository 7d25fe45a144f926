"""BLOOM: what parity with llama.cpp's converter cannot show."""

import pytest

from quant.base.errors import UserError
from quant.convert.families.bloom import FAMILY
from tests.families.bloom import config


def test_the_first_name_of_the_width_goes_before_the_later_one():
    assert FAMILY.complete(config(n_embed=32))["hidden_size"] == 32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm = true"),
        ({"n_head": 5}, "5 attention heads in a width of 64"),
        ({"n_layer": -1}, "n_layer = -1, which must be a positive number"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        list(FAMILY.tensors(FAMILY.complete(config() | change)))
