"""Gemma 2 and 3: what parity cannot show, since llama.cpp's converter ignores it."""

from typing import Any

import gguf
import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from tests.families.gemma2 import config as gemma2_config
from tests.families.gemma3 import config as gemma3_config
from tests.families.gemma3 import transformers5


def keys_of(config: dict[str, Any]) -> dict[str, Any]:
    family = find_family(config["architectures"][0])
    writer = gguf.GGUFWriter(None, family.arch)
    family.write_keys(writer, complete_config(family, config), 0)
    return {key: entry.value for key, entry in writer.kv_data[0].items()}


def test_both_forms_of_the_rotary_bases_yield_the_same_keys() -> None:
    found = keys_of(transformers5())
    assert found == keys_of(gemma3_config())
    assert found["gemma3.rope.freq_base"] == 1000000.0
    assert found["gemma3.rope.freq_base_swa"] == 10000.0


@pytest.mark.parametrize("config", [gemma2_config(), gemma3_config()])
def test_the_usual_windows_need_no_key(config: dict[str, Any]) -> None:
    assert not [key for key in keys_of(config) if key.endswith("sliding_window_pattern")]


def test_windows_elsewhere_are_written_down() -> None:
    words = ["full_attention", "sliding_attention", "sliding_attention"]
    found = keys_of(gemma2_config() | {"layer_types": words})
    assert found["gemma2.attention.sliding_window_pattern"] == [False, True, True]


@pytest.mark.parametrize("words", ["sliding_attention", ["full_attention"], ["full_attention", "global", "local"]])
def test_layer_types_must_be_one_known_word_per_layer(words: object) -> None:
    with pytest.raises(UserError, match="layer_types"):
        keys_of(gemma2_config() | {"layer_types": words})


def test_a_gemma2_without_a_cap_is_refused() -> None:
    with pytest.raises(UserError, match="final_logit_softcapping = null"):
        keys_of(gemma2_config() | {"final_logit_softcapping": None})


def test_a_gemma3_with_capped_scores_is_refused() -> None:
    with pytest.raises(UserError, match="attn_logit_softcapping"):
        keys_of(gemma3_config() | {"attn_logit_softcapping": 50.0})
