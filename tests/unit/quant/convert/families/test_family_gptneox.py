"""GPT-NeoX: what parity with llama.cpp's converter cannot show."""

import gguf
import pytest

from quant.base.errors import UserError
from quant.convert.families.gptneox import FAMILY
from tests.families.gptneox import config


def keys(config):
    writer = gguf.GGUFWriter(None, "gptneox")
    FAMILY.write_keys(writer, FAMILY.complete(config), 0)
    return {key.removeprefix("gptneox."): value.value for part in writer.kv_data for key, value in part.items()}


def test_both_forms_of_the_rotary_settings_yield_the_same_keys():
    old = config(rotary_pct=0.5, rotary_emb_base=500)
    rope = {"rope_type": "default", "rope_theta": 500, "partial_rotary_factor": 0.5}
    new = config(rotary_pct=None, rotary_emb_base=None, rope_parameters=rope)
    assert keys(old) == keys(new)
    assert (keys(new)["rope.dimension_count"], keys(new)["rope.freq_base"]) == (8, 500)


def test_a_scaling_that_llama_cpp_knows_is_written():
    found = keys(config(rope_scaling={"type": "linear", "factor": 2.0}))
    assert (found["rope.scaling.type"], found["rope.scaling.factor"], found["rope.freq_base"]) == ("linear", 2.0, 10000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_act": "relu"}, 'hidden_act = "relu"'),
        ({"attention_bias": False}, "attention_bias = false"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings = true"),
        ({"num_attention_heads": 5}, "5 attention heads in a width of 64"),
        ({"rotary_pct": 1.5}, "partial_rotary_factor = 1.5, which must be between 0 and 1"),
        ({"rotary_pct": 0.2}, "3 rotary values in heads of 16"),
        ({"rope_scaling": {"type": "llama3", "factor": 8.0}}, "the rope scaling 'llama3'"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        keys(config() | change)
