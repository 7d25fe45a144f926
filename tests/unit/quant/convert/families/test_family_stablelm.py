"""StableLM: what parity with llama.cpp's converter cannot show."""

import gguf
import numpy as np
import pytest
from safetensors.numpy import load_file

from quant.base.errors import UserError
from quant.convert.families.stablelm import FAMILY
from quant.convert.to_gguf import convert
from tests.families.stablelm import config
from tests.support.checkpoints import write_checkpoint


def keys(config):
    writer = gguf.GGUFWriter(None, "stablelm")
    FAMILY.write_keys(writer, FAMILY.complete(config), 0)
    return {key.removeprefix("stablelm."): value.value for part in writer.kv_data for key, value in part.items()}


def test_both_forms_of_the_rotary_settings_yield_the_same_keys():
    old = config(rope_theta=1000000, partial_rotary_factor=0.5)
    rope = {"rope_type": "default", "rope_theta": 1000000, "partial_rotary_factor": 0.5}
    new = config(rope_theta=None, partial_rotary_factor=None, rope_parameters=rope)
    assert keys(old) == keys(new)
    assert (keys(new)["rope.dimension_count"], keys(new)["rope.freq_base"]) == (8, 1000000)


def test_the_usual_rotary_base_needs_no_key():
    assert "rope.freq_base" not in keys(config(rope_theta=10000))


def test_the_heads_norms_are_stacked_by_number_and_not_by_name(tmp_path):
    shape = config(hidden_size=96, num_attention_heads=12, num_key_value_heads=2, num_hidden_layers=1)
    folder = write_checkpoint(tmp_path / "model", shape | {"qk_layernorm": True}, dtype="float32")
    convert(folder, tmp_path / "made.gguf", outtype="f32", pre="gpt-2")
    made = {tensor.name: tensor.data for tensor in gguf.GGUFReader(tmp_path / "made.gguf").tensors}
    stored = load_file(folder / "model.safetensors")
    names = [f"model.layers.0.self_attn.q_layernorm.norms.{head}.weight" for head in range(12)]
    assert np.array_equal(made["blk.0.attn_q_norm.weight"], np.stack([stored[name] for name in names]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tie_word_embeddings": True}, "tie_word_embeddings = true"),
        ({"hidden_act": "gelu"}, 'hidden_act = "gelu"'),
        ({"use_parallel_residual": "yes"}, 'use_parallel_residual = "yes"'),
        ({"num_attention_heads": 5}, "5 attention heads in a width of 64"),
        ({"partial_rotary_factor": "all"}, "partial_rotary_factor = all, which must be a number"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        keys(config() | change)
