"""GPT-2: what parity with llama.cpp's converter cannot show."""

import pytest

from quant.base.errors import UserError
from quant.convert.families.gpt2 import FAMILY
from quant.convert.layout import open_layout
from tests.families.gpt2 import config
from tests.support.checkpoints import write_checkpoint

MASKS = {"h.0.attn.bias": (1, 1, 96, 96), "h.0.attn.masked_bias": ()}


def test_masks_and_a_missing_prefix_change_nothing(tmp_path):
    plain = open_layout(write_checkpoint(tmp_path / "plain", config(n_layer=1)), pre="gpt-2")
    folder = write_checkpoint(tmp_path / "masks", config(n_layer=1), bare=True, more_tensors=MASKS)
    masked = open_layout(folder, pre="gpt-2")
    assert len(plain.jobs) == 16  # two embeddings, twelve in the layer, the last norm and its bias
    assert sorted(job.target for job in masked.jobs) == sorted(job.target for job in plain.jobs)


def test_the_keys_of_other_classes_are_understood():
    renamed = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 96}
    given = config(n_embd=None, n_layer=None, n_head=None, n_positions=None, n_ctx=None)
    complete, usual = FAMILY.complete(given | renamed), FAMILY.complete(config())
    assert [complete[key] for key in ("n_embd", "n_layer", "n_head", "n_positions", "n_inner")] == [64, 3, 4, 96, 256]
    assert list(FAMILY.tensors(complete)) == list(FAMILY.tensors(usual))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "relu"}, 'activation_function = "relu", which llama.cpp does not compute'),
        ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = true"),
        ({"n_head": 5}, "5 attention heads in a width of 64"),
        ({"n_embd": "64"}, "n_embd = '64', which must be a positive number"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        FAMILY.complete(config() | change)
