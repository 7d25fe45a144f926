"""Which pre-tokenizer of llama.cpp a tokenizer.json has, told by its structure.

llama.cpp's converter runs the tokenizer on a fixed text and looks the ids' hash up. The pre-tokenizer itself stands in
the file, so it is compared with what llama.cpp's names mean: the same steps, written the same way.
"""

import difflib
import json
from pathlib import Path
from typing import Any

from quant.errors import UserError

# The regular expressions are those of the models' own tokenizer.json files; llama.cpp's src/llama-vocab.cpp has the
# same under the names given.
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
    r"\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2 = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
    r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + _CONTRACTION + "|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + _CONTRACTION + "|"
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_BY_STRUCTURE = {
    ("bytes+words",): "gpt-2",
    ("digits", "bytes+words"): "smollm",
    (f"split {_LLAMA3}", "bytes"): "llama-bpe",
    (f"split {_QWEN2}", "bytes"): "qwen2",
    (f"split {_TEKKEN}", "bytes"): "tekken",
    (f"split {_GPT_4O}", "bytes"): "gpt-4o",
}
# Source: the names that src/llama-vocab.cpp of the pinned llama.cpp knows.
KNOWN = """
a.x-4.0 afmoe bailingmoe bailingmoe2 bloom chameleon chatglm-bpe codeshell cohere2moe command-r dbrx deepseek-coder
deepseek-llm deepseek-r1-qwen deepseek-v3 default exaone exaone-moe exaone4 f2llmv2 falcon falcon-h1 falcon3 gemma4
gigachat glm4 glm5 gpt-2 gpt-4o gpt3-finnish granite-docling granite-embed-multi-311m granite-embed-multi-97m grok-2
hunyuan hunyuan-dense hy_v4 jais jais-2 jina-de jina-es jina-v1-en jina-v2-code jina-v2-de jina-v2-es jina-v5-nano
joyai-llm kanana2 kimi-k2 kormo laguna lfm2 llada-moe llama-bpe llama-v3 llama3 llama4 megrez mellum mellum2 midm-2.0
minerva-7b minicpm5 minimax-m2 modern-bert mpt olmo phi-2 pixtral poro-chat qwen2 qwen35 refact roberta-bpe sarvam-moe
seed-coder smaug-bpe smollm solar-open spark2_5 stablelm2 starcoder superbpe talkie tekken tiny_aya trillion ufakzeka
viking whitespace youtu
""".split()  # noqa: SIM905  a list of names reads better as text


def validate_pre(name: str) -> None:
    """Refuse a name that llama.cpp does not know.

    Raises:
        UserError: it is unknown; the nearest name is suggested.
    """
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"some that it knows: {', '.join(_BY_STRUCTURE.values())}"
        raise UserError(f"llama.cpp knows no pre-tokenizer '{name}'; {hint}")


def detect_pre(tokenizer: dict[str, Any], folder: Path) -> str:
    """Give the name of the pre-tokenizer.

    Raises:
        UserError: its structure is none of those known.
    """
    try:
        steps = _steps(tokenizer.get("pre_tokenizer"))
    except RecursionError:
        steps = ["nested too deeply"]
    if found := _BY_STRUCTURE.get(tuple(steps)):
        return found
    raise UserError(
        f"the pre-tokenizer in {folder / 'tokenizer.json'} is not known by its structure ({'; '.join(steps)[:120]}); "
        "give llama.cpp's name for it with --pre"
    )


def _steps(node: Any) -> list[str]:
    """Write a pre-tokenizer as a list of words that say what each step does."""
    if not isinstance(node, dict):
        return ["none"]
    kind = node.get("type")
    if kind == "Sequence":
        inner = node.get("pretokenizers")
        return [step for each in (inner if isinstance(inner, list) else []) for step in _steps(each)]
    if kind == "ByteLevel":
        words = "bytes+words" if node.get("use_regex", True) else "bytes"
        return [f"space+{words}" if node.get("add_prefix_space") else words]
    if kind == "Digits":
        return ["digits" if node.get("individual_digits") else "numbers"]
    pattern = node.get("pattern")
    # Keeping what matches and removing the rest is the same where everything matches, as it does with those known.
    kept = (node.get("behavior"), bool(node.get("invert"))) in (("Isolated", False), ("Removed", True))
    if kind == "Split" and kept and isinstance(pattern, dict):
        return [f"split {pattern.get('Regex', pattern.get('String'))}"]
    return [json.dumps(node, sort_keys=True)[:200]]
