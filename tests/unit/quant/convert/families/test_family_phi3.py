"""Phi-3: what parity with llama.cpp's converter cannot show."""

import gguf
import pytest

from quant.base.errors import UserError
from quant.convert.families.phi3 import FAMILY

SHAPE = {
    "hidden_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 1,
    "intermediate_size": 32,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 256,
}
LONG = {"type": "longrope", "long_factor": [2.0] * 8, "short_factor": [1.0] * 8}


def keys(config):
    writer = gguf.GGUFWriter(None, "phi3")
    complete = FAMILY.complete(config)
    FAMILY.early_keys(writer, complete)
    FAMILY.write_keys(writer, complete, 0)
    return {key.removeprefix("phi3."): value.value for part in writer.kv_data for key, value in part.items()}


def test_both_forms_yield_the_same_keys_and_factors():
    old = SHAPE | {"rope_theta": 500.0, "rope_scaling": LONG}
    new = {key: value for key, value in SHAPE.items() if not key.startswith("original")}
    rope = {**LONG, "rope_type": "longrope", "rope_theta": 500.0, "original_max_position_embeddings": 256}
    new["rope_parameters"] = {key: value for key, value in rope.items() if key != "type"}
    assert keys(old) == keys(new)
    assert keys(new)["rope.freq_base"] == 500.0
    # sqrt(1 + log(4096 / 256) / log(256)) = sqrt(1.5)
    assert keys(new)["rope.scaling.attn_factor"] == pytest.approx(1.5**0.5)
    assert FAMILY.extra_tensors(FAMILY.complete(new))["rope_factors_long.weight"].tolist() == [2.0] * 8


def test_an_attention_factor_that_the_config_names_counts():
    assert keys(SHAPE | {"rope_scaling": {**LONG, "attention_factor": 1.25}})["rope.scaling.attn_factor"] == 1.25


@pytest.mark.parametrize(
    ("rope", "message"),
    [
        ({**LONG, "long_factor": [2.0] * 7}, "long_factor = .*must be a list of 8 numbers"),
        ({**LONG, "short_factor": None}, "short_factor = None, which must be a list of 8 numbers"),
        ({**LONG, "long_factor": ["2"] * 8}, "long_factor = 2, which must be a number"),
        ({**LONG, "type": "ntk"}, "the rope scaling 'ntk' with long_factor"),
        ({"type": "yarn", "factor": 4.0}, "the rope scaling 'yarn' without its long_factor and short_factor"),
    ],
)
def test_wrong_rope_settings_are_refused(rope, message):
    config = FAMILY.complete(SHAPE | {"rope_scaling": rope})

    def make() -> None:
        FAMILY.early_keys(gguf.GGUFWriter(None, "phi3"), config)
        FAMILY.extra_tensors(config)

    with pytest.raises(UserError, match=message):
        make()
