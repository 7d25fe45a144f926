import pytest

from quant.base.errors import UserError
from quant.gguf_io.levels import LEVELS, levels_requested_by_name, parse_levels, strip_level


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("Q4_K_M,q8_0", ["Q4_K_M", "Q8_0"]),
        (" q8_0 , Q4_K_M ,q8_0", ["Q8_0", "Q4_K_M"]),
        ("Q4_K,q5_k,Q3_K", ["Q4_K_M", "Q5_K_M", "Q3_K_M"]),
        ("f16,bf16,F32", ["F16", "BF16", "F32"]),
        ("iq4-nl", ["IQ4_NL"]),
        ("legacy", ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]),
        ("Q4_0,legacy", ["Q4_0", "Q8_0", "Q5_1", "Q5_0", "Q4_1"]),
    ],
)
def test_lists_are_read_in_order_each_level_once(text, levels):
    assert parse_levels(text) == levels


def test_groups_have_their_families_and_never_f32():
    assert set(parse_levels("k-quants")) == {level.name for level in LEVELS if level.family == "k-quant"}
    assert parse_levels("K_QUANT") == parse_levels("k-quants")
    assert all(name.startswith("IQ") for name in parse_levels("i-quants"))
    everything = parse_levels("all")
    assert {"F16", "BF16", "Q4_K_M", "IQ1_S", "TQ1_0"} <= set(everything)
    assert "F32" not in everything
    assert "NVFP4" not in everything  # llama.cpp reads it, but does not quantize to it


def test_what_a_group_brings_in_is_not_asked_by_name():
    assert levels_requested_by_name("k-quants,F16,q4_k_m") == {"F16", "Q4_K_M"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Q4_K_X", ["'Q4_K_X'", "did you mean Q4_K_", "IQ3_XXS", "k-quants"]),
        ("Q4_K_M,Q9", ["'Q9'"]),
        ("NVFP4", ["cannot quantize to NVFP4"]),
        ("", ["the list of levels is empty"]),
        (",,", ["the list of levels is empty"]),
        ("x" * 5000, ["there is no level"]),
    ],
)
def test_an_unknown_level_is_one_line_with_a_hint(text, words):
    with pytest.raises(UserError) as error:
        parse_levels(text)
    said = str(error.value)
    assert "\n" not in said
    assert len(said) < 700
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    ("stem", "bare"),
    [
        ("smollm2-135m-F16", "smollm2-135m"),
        ("smollm2-135m.q4_k_m", "smollm2-135m"),
        ("model_BF16", "model"),
        ("model_Q4_K_M", "model"),
        ("model-iq4_nl", "model"),
        ("smollm2-135m", "smollm2-135m"),
        ("F16", "F16"),
        ("a-b", "a-b"),
        ("model-UD-Q4_K_XL", "model"),
        ("model.i1-Q4_K_M", "model"),
        ("model-Q6_K_L", "model"),
        ("model-Q4_0_4_4", "model"),
        ("model-fp16", "model"),
        ("model-F16-Q8_0", "model"),
        ("model-Q4_K_M-imat", "model"),
        ("model-q4-k-m", "model"),
        ("model-instruct-v0.2", "model-instruct-v0.2"),
    ],
)
def test_a_stem_loses_its_level(stem, bare):
    assert strip_level(stem) == bare
