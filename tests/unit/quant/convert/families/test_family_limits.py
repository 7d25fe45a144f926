"""SmolLM3, OLMo 2 and Granite: configs that llama.cpp's graphs cannot follow are refused, not converted wrongly."""

from typing import Any

import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family
from tests.families.granite import config as granite_config
from tests.families.olmo2 import config as olmo2_config
from tests.families.smollm3 import config as smollm3_config


def complete(config: dict[str, Any]) -> dict[str, Any]:
    return complete_config(find_family(config["architectures"][0]), config)


def test_smollm3_ties_the_embeddings_without_a_word() -> None:
    config = smollm3_config()
    del config["tie_word_embeddings"]
    assert complete(config)["tie_word_embeddings"] is True


@pytest.mark.parametrize("other", [{"no_rope_layers": [1, 0, 1, 0, 1]}, {"no_rope_layer_interval": 3}])
def test_smollm3_with_other_layers_without_rotary_embedding_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="every fourth"):
        complete(smollm3_config() | other)


def test_a_tied_olmo2_is_refused() -> None:
    with pytest.raises(UserError, match="output matrix of its own"):
        complete(olmo2_config(tie=True))


def test_granite_forgets_the_head_size() -> None:
    assert "head_dim" not in complete(granite_config(head_dim=16))
