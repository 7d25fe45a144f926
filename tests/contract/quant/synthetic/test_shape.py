"""The layout of a shape, against the checkpoint of that shape as it is written and read again."""

import gguf
import pytest

from quant.convert.layout import layout_of_shape, open_layout
from quant.convert.provenance import Origin
from quant.convert.sparse_gguf import write_sparse
from quant.gguf_io.artifact import STANDIN_FAMILY_KEY
from quant.gguf_io.header import open_gguf_header
from quant.synthetic.checkpoint import synthesize
from tests.support.registry import find

SIZES = {"vocab_size": 700, "num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128,
         "num_attention_heads": 4, "num_key_value_heads": 2}  # fmt: skip
SHAPES = {
    "llama": {**SIZES, "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": False},
    "qwen2": {**SIZES, "model_type": "qwen2", "tie_word_embeddings": True},
    "gemma": {**SIZES, "architectures": ["GemmaForCausalLM"], "head_dim": 16},
    "phi3": {**SIZES, "architectures": ["Phi3ForCausalLM"], "num_key_value_heads": 4},
}


@pytest.mark.parametrize("name", SHAPES)
def test_a_shapes_layout_is_that_of_its_checkpoint(tmp_path, name):
    written = open_layout(synthesize(SHAPES[name], tmp_path / "c", standin_for="m-1b"), origin=Origin(model="m-1b"))

    made = layout_of_shape(SHAPES[name], standin_for="m-1b")

    types = made.types_at(made.lossless_type)
    assert sorted(made.entries(types)) == sorted(written.entries(written.types_at(written.lossless_type)))
    assert made.keys == written.keys


def test_a_file_with_a_hole_says_all_and_takes_no_room(tmp_path):
    layout = layout_of_shape(find("galactica-125m").shape(), standin_for="galactica-125m")

    write_sparse(layout, tmp_path / "hole.gguf")

    header = open_gguf_header(tmp_path / "hole.gguf")
    facts = (tmp_path / "hole.gguf").stat()
    assert header.text(STANDIN_FAMILY_KEY) == "opt"
    assert sum(tensor.n_weights for tensor in header.tensors) == find("galactica-125m").standin.n_params
    assert facts.st_size > 250e6
    assert facts.st_blocks * 512 < 1e6
    assert {tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "hole.gguf").tensors} == {"BF16", "F32"}
