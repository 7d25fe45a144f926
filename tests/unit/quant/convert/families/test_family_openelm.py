"""OpenELM: what parity with llama.cpp's converter cannot show."""

import pytest

from quant.base.errors import UserError
from quant.convert.families.openelm import FAMILY, ffn_lengths
from quant.convert.layout import open_layout
from tests.families.openelm import config
from tests.support.checkpoints import write_checkpoint


def test_the_widths_are_those_of_openelm_270m():
    multipliers = [0.5, 0.73, 0.97, 1.2, 1.43, 1.67, 1.9, 2.13, 2.37, 2.6, 2.83, 3.07, 3.3, 3.53, 3.77, 4.0]
    shape = {"num_transformer_layers": 16, "model_dim": 1280, "ffn_dim_divisor": 256, "ffn_multipliers": multipliers}
    multiples = [3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20]
    assert ffn_lengths(shape) == [256 * each for each in multiples]


def test_a_width_is_never_rounded_down_by_more_than_a_tenth():
    shape = {"num_transformer_layers": 1, "model_dim": 100, "ffn_dim_divisor": 64, "ffn_multipliers": [0.9]}
    assert ffn_lengths(shape) == [128]  # 90 is nearer to 64


def test_without_a_tokenizer_the_error_names_the_one_to_use(tmp_path):
    folder = write_checkpoint(tmp_path / "openelm", config(), tokenizer="spm")
    (folder / "tokenizer.model").unlink()
    with pytest.raises(UserError, match=r"put Llama 2's tokenizer\.model there") as caught:
        _ = open_layout(folder).vocabulary
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"share_input_output_layers": False}, "share_input_output_layers = false"),
        ({"normalize_qk_projections": None}, "normalize_qk_projections = null"),
        ({"ffn_with_glu": False}, "ffn_with_glu = false"),
        ({"num_kv_heads": [1, 2]}, "num_kv_heads = .*must be a list of 3 numbers"),
        ({"num_query_heads": 6}, "num_query_heads = 6, which must be a list of 3 numbers"),
        ({"ffn_multipliers": [1, 2, "3"]}, "ffn_multipliers = 3, which must be a number"),
        ({"ffn_multipliers": [1, 2, -3]}, "-3 among ffn_multipliers"),
        ({"head_dim": 15}, "heads of 15 values"),
    ],
)
def test_what_llama_cpp_does_not_compute_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        list(FAMILY.tensors(FAMILY.complete(config() | change)))
