"""File names by gguf's naming convention."""

import pytest

from quant.gguf_io.file_name import file_stem
from quant.gguf_io.levels import file_name, strip_level


@pytest.mark.parametrize(
    ("name", "n_params", "stem"),
    [
        ("SmolLM2-135M-Instruct", 134_515_008, "SmolLM2-135M-Instruct"),
        ("smollm2-135m", 134_515_008, "smollm2-135M"),
        ("Qwen2.5-0.5B", 494_032_768, "Qwen2.5-0.5B"),
        ("my-tune", 494_032_768, "my-tune-494M"),
        ("tiny", 74_304, "tiny-74K"),
        ("Phi-3-mini-4k-instruct", 3_821_079_552, "Phi-3-mini-4k-instruct"),
        ("Mistral-7B-Instruct-v0.3", 7_248_023_552, "Mistral-7B-Instruct-v0.3"),
        ("x<y>-1B", 1_000_000_000, "x_y_-1B"),
    ],
)
def test_a_stem_has_the_base_name_then_the_size_then_what_it_was_tuned_for(name, n_params, stem):
    assert file_stem(name, n_params) == stem


def test_the_level_stands_last():
    assert file_name("SmolLM2-135M", "Q4_K_M") == "SmolLM2-135M-Q4_K_M.gguf"
    assert strip_level("SmolLM2-135M-Q4_K_M") == "SmolLM2-135M"
