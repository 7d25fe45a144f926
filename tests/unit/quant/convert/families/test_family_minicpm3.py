"""MiniCPM3: llama.cpp computes with constants, so configs with other numbers are refused."""

import pytest

from quant.base.errors import UserError
from quant.convert.families.minicpm import FAMILY as MINICPM
from quant.convert.families.minicpm3 import FAMILY

SHAPE = {"hidden_size": 64, "num_attention_heads": 4, "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scale_emb": 1}, "scale_emb = 1"),
        ({"scale_depth": None}, "scale_depth = 1"),
        ({"dim_model_base": 128}, "dim_model_base = 128"),
        ({"num_key_value_heads": 2}, "num_key_value_heads = 2"),
        ({"rope_scaling": {"type": "yarn", "factor": 2}}, 'rope_type = "yarn"'),
    ],
)
def test_what_llama_cpp_computes_otherwise_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        FAMILY.complete(SHAPE | changes)


def test_minicpm_refuses_another_activation():
    with pytest.raises(UserError, match="hidden_act"):
        MINICPM.complete(SHAPE | {"hidden_act": "fatrelu"})
