"""Which tokens a tokenizer adds around a text, from an untrusted post-processor."""

from typing import Any

import pytest

from quant.convert.tokenizer.post_processor import added_ends

TEXT = {"Sequence": {"id": "A", "type_id": 0}}
BOS = {"SpecialToken": {"id": "<s>", "type_id": 0}}


@pytest.mark.parametrize(
    ("node", "ends"),
    [
        ({"type": "ByteLevel"}, ([], [])),
        ({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]}, ([0], [2])),
        (
            {"type": "TemplateProcessing", "single": [BOS, TEXT], "special_tokens": {"<s>": {"id": "<s>", "ids": [7]}}},
            ([7], []),
        ),
        ({"type": "TemplateProcessing", "single": [TEXT], "special_tokens": None}, ([], [])),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "Unknown"}]}, None),
        ({"type": "TemplateProcessing", "single": [1]}, None),
        ({"type": "TemplateProcessing", "single": [BOS]}, None),
        ({"type": "TemplateProcessing", "single": [BOS], "special_tokens": []}, None),
        ({"type": "TemplateProcessing", "single": [BOS], "special_tokens": {"<s>": {"ids": ["\ud800"]}}}, None),
        ({"type": "BertProcessing", "cls": ["<s>"], "sep": ["</s>", 2]}, None),
        ({"type": "BertProcessing", "cls": ["<s>", "one"], "sep": ["</s>", 2]}, None),
        (7, None),
    ],
)
def test_what_a_post_processor_adds_or_that_it_cannot_be_read(node: Any, ends: Any) -> None:
    assert added_ends({"post_processor": node}, {}, {}) == ends


@pytest.mark.parametrize("listed", [[7, None], "text", [{"content": "<s>", "id": 3}]])
def test_added_tokens_that_are_none_are_passed_over(listed: Any) -> None:
    found = added_ends({"added_tokens": listed}, {"bos_token": "<s>", "add_bos_token": True}, {"bos": 3})
    assert found == ([3], [])
