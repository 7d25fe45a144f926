"""The texts whose tokens are compared: many scripts, code, digits, white space, emoji, and special tokens in text."""

import json
from collections.abc import Sequence
from pathlib import Path

_FILE = Path(__file__).with_name("probe.json")
_MAX_CHARS = 200  # of a special token: a longer one is no token
_AROUND = ("{}", "{}{}", "a{}b", "a {} b", " {}", "{} ", "{}\n", "\n{}", "  {}  ", "{} a {}b")


def probe_lines(special_texts: Sequence[str]) -> list[str]:
    """Return all texts; those with special tokens last.

    Args:
        special_texts: added tokens of the tokenizer.
    """
    lines: list[str] = json.loads(_FILE.read_text(encoding="utf-8"))
    for text in special_texts:
        if 0 < len(text) <= _MAX_CHARS:
            lines += [form.replace("{}", text) for form in _AROUND]
    return lines
