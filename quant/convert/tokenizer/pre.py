"""Detect llama.cpp's name of a tokenizer.json's pre-tokenizer from its structure.

llama.cpp's converter runs the tokenizer on a fixed text and looks up a hash of the ids. Here the steps in the file are
compared with those that llama.cpp's names mean, in one notation for both, so that changes to the vocabulary by a
fine-tune do not matter.
Source: the regular expressions and steps are those of the models' own tokenizer.json files; the name that does the same
is in src/llama-vocab.cpp of the pinned llama.cpp. Names that split text alike are represented by one of them.
"""

import difflib
import json
from pathlib import Path
from typing import Any

from quant.base.errors import UserError

_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CJK = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
_CJK_DEEPSEEK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def _words_or_numbers(digits: str) -> str:
    """Return the regex of which Llama 3, Qwen 2 and others have variants: letters, digits, punctuation, spaces."""
    return _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|" + _SPACES


def _cased_words_or_numbers(contractions: str, digits: str, upper: str = _UPPER, lower: str = _LOWER) -> str:
    """Return the regex of which GPT-4o and Tekken have variants: a word ends where upper case follows lower case."""
    start = r"[^\r\n\p{L}\p{N}]?"
    words = f"{start}{upper}*{lower}+{contractions}|{start}{upper}+{lower}*{contractions}"
    return f"{words}|{digits}" + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES


_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA_3 = _words_or_numbers(r"\p{N}{1,3}")
_QWEN_2 = _words_or_numbers(r"\p{N}")
_MINICPM_5 = _words_or_numbers(r"\p{N}+")
_QWEN_35 = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|" + _SPACES
_SEED_CODER = _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|" + _SPACES
_TEKKEN = _cased_words_or_numbers("", r"\p{N}")
_GPT_4O = _cased_words_or_numbers(_CONTRACTIONS + "?", r"\p{N}{1,3}")
_BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # noqa: RUF001  the signs of many scripts
_DEEPSEEK_LETTERS = (
    "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373"
    "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f"
    "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d"
    "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4"
    "\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139"
    "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d"
    "\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a"
    "\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943]+"
)
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_DEEPSEEK_3 = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"""
    r" ?[\p{P}\p{S}]+[\r\n]*|" + _SPACES
)


def _split(*patterns: str) -> tuple[str, ...]:
    return tuple(f"split {pattern}" for pattern in patterns)


# Steps, and llama.cpp's name for them. "digits" are single ones, "numbers" runs of them; "bytes" writes bytes as
# printable characters, and "bytes+words" splits as GPT-2 does before that.
_BY_STRUCTURE = {
    # GPT-2, GPT-NeoX and Pythia, OLMo, MPT, Phi-1 to Phi-2; the same as mpt, olmo, phi-2, jais, exaone4, trillion
    ("bytes+words",): "gpt-2",
    # SmolLM, StarCoder, Granite 3; the same as starcoder, refact, command-r, codeshell, exaone, mellum2
    ("digits", "bytes+words"): "smollm",
    (*_split(_LLAMA_3), "bytes"): "llama-bpe",  # Llama 3; others with this structure are distinguished below
    (*_split(_QWEN_2), "bytes"): "qwen2",  # the same as stablelm2, hunyuan, megrez, solar-open, grok-2
    (*_split(_TEKKEN), "bytes"): "tekken",
    (*_split(_GPT_4O), "bytes"): "gpt-4o",  # the same as llama4, minimax-m2, kanana2
    (*_split(_QWEN_35), "bytes"): "qwen35",
    ("punctuation", "bytes+words", "numbers", *_split("[0-9][0-9][0-9]")): "falcon",
    ("punctuation", "bytes+words", "digits"): "falcon3",
    (*_split(r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK_DEEPSEEK), "digits", "bytes"): "deepseek-coder",
    (
        *_split(r"[\r\n]", _DEEPSEEK_LETTERS, _DEEPSEEK_SIGNS, r"\s+$", _CJK_DEEPSEEK),
        *("digits", "bytes"),
    ): "deepseek-llm",
    (*_split(r"\p{N}{1,3}", _CJK, _DEEPSEEK_3), "bytes"): "deepseek-v3",  # the same as hunyuan-dense, hy_v4, joyai-llm
    (*_split(_BLOOM), "bytes"): "bloom",  # the same as poro-chat, gpt3-finnish
    (*_split(_BLOOM), "digits", "bytes"): "viking",
    (*_split(r"\p{N}{1,3}", _MINICPM_5), "bytes"): "minicpm5",
    (*_split(_SEED_CODER), "bytes"): "seed-coder",
    (*_split(r"\d{1,3}(?=(?:\d{3})*\b)", _GPT_4O), "bytes"): "tiny_aya",
}
# What llama.cpp computes under a name, where that is not what the name's models do.
_CJK_WITHOUT_SPACES = _CJK_DEEPSEEK.replace("]+", r"&&[^\s]]+")
_ASCII_UPPER, _ASCII_LOWER = r"[\p{L}&&[^a-z]]", r"[\p{L}&&[^A-Z]]"
_LLAMA_SPLITS = {
    "tekken": (_cased_words_or_numbers("", r"\p{N}", _ASCII_UPPER, _ASCII_LOWER),),
    "gpt-4o": (_cased_words_or_numbers(_CONTRACTIONS + "?", r"\p{N}{1,3}", _ASCII_UPPER, _ASCII_LOWER),),
    "falcon3": (_LLAMA_3,),
    "deepseek-coder": (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK_WITHOUT_SPACES, r"\p{N}"),
    "deepseek-llm": (
        *(r"[\r\n]", _DEEPSEEK_LETTERS, _DEEPSEEK_SIGNS.replace("\u3000", "\u3001"), r"\s+$"),
        *(_CJK_WITHOUT_SPACES, r"\p{N}+"),
    ),
    "falcon": (r"[\p{P}$+<=>^~|`]+", _GPT_2, "[0-9]{3}"),
    "tiny_aya": (
        r"\P{N}*\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))",
        r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+" + _CONTRACTIONS + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + _SPACES,
    ),
}
# Regexes that match everything: removing all but the matches is the same as splitting at them.
_EVERYTHING = {_GPT_2, _LLAMA_3, _QWEN_2, _MINICPM_5, _QWEN_35, _SEED_CODER, _TEKKEN, _GPT_4O}
# Regexes that are the same as a step of another kind.
_SINGLE = {r"\p{N}": "digits", r"\p{N}+": "numbers"}
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
""".split()  # noqa: SIM905  more readable than a list


def validate_pre(name: str) -> None:
    """Refuse a name that llama.cpp does not know.

    Raises:
        UserError: it is unknown; the message suggests the nearest name.
    """
    if name not in KNOWN:
        near = difflib.get_close_matches(name, KNOWN, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"some that it knows: {', '.join(_BY_STRUCTURE.values())}"
        raise UserError(f"llama.cpp knows no pre-tokenizer '{name}'; {hint}")


def detect_pre(
    tokenizer: dict[str, Any], folder: Path, *, settings: dict[str, Any] | None = None, has_bos: bool = True
) -> str:
    """Return llama.cpp's name of the pre-tokenizer.

    Args:
        settings: the contents of tokenizer_config.json.
        has_bos: whether the vocabulary has a BOS token.

    Raises:
        UserError: its structure is unknown.
    """
    _refuse_changed_text(tokenizer, folder)
    node = tokenizer.get("pre_tokenizer")
    if isinstance(node, dict) and node.get("type") == "ByteLevel" and not (settings or {}).get("add_prefix_space"):
        # If it is the only step, transformers takes this from the settings, not from here.
        node = {**node, "add_prefix_space": False}
    try:
        steps = _joined(_steps(node))
    except RecursionError:
        steps = ["nested too deeply"]
    found = _BY_STRUCTURE.get(tuple(steps))
    if found == "llama-bpe":
        model = tokenizer.get("model")
        return _like_llama_3(model if isinstance(model, dict) else {}, has_bos=has_bos)
    if found:
        return found
    raise UserError(
        f"the pre-tokenizer in {folder / 'tokenizer.json'} has an unknown structure ({'; '.join(steps)[:200]}); "
        "pass llama.cpp's name for it with --pre NAME"
    )


def llama_split(node: Any) -> dict[str, Any] | None:
    """Return a pre-tokenizer changed to what llama.cpp computes under its name; None where it computes the same.

    llama.cpp has no classes of marks in the expressions that part words by their case, and in tiny_aya's no case; takes
    Llama 3's expression for Falcon 3, and a number whole where deepseek-llm takes its digits; no range of its
    characters holds a space, as DeepSeek's do. It does not part Falcon's numbers from the space before them, nor
    tiny_aya's from what is before them until their digits are grouped.
    Source: llm_tokenizer_bpe in src/llama-vocab.cpp and src/unicode.cpp of the pinned llama.cpp.
    """
    try:
        found = _BY_STRUCTURE.get(tuple(_joined(_steps(node))))
    except RecursionError:
        return None
    return _split_by(*_LLAMA_SPLITS[found]) if found in _LLAMA_SPLITS else None


def _split_by(*patterns: str) -> dict[str, Any]:
    splits = [
        {"type": "Split", "pattern": {"Regex": each}, "behavior": "Isolated", "invert": False} for each in patterns
    ]
    last = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {"type": "Sequence", "pretokenizers": [*splits, last]}


def _refuse_changed_text(tokenizer: dict[str, Any], folder: Path) -> None:
    """Refuse normalizers and marks of word parts: llama.cpp ignores both for byte-level BPE."""
    model = tokenizer.get("model")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if isinstance(model, dict) and model.get(key):
            raise UserError(
                f"{folder / 'tokenizer.json'} has {key} {json.dumps(model[key])[:40]}, which llama.cpp does not "
                "compute; pass llama.cpp's name for the pre-tokenizer with --pre NAME to convert it anyway"
            )
    changing = {"Lowercase", "StripAccents", "BertNormalizer", "Strip", "Replace", "Prepend"}
    try:
        found = sorted(changing & set(_kinds(tokenizer.get("normalizer"))))
    except RecursionError:
        found = ["one nested too deeply"]
    if found:
        raise UserError(
            f"{folder / 'tokenizer.json'} has the normalizer {found[0]}, which llama.cpp does not compute; "
            "pass llama.cpp's name for the pre-tokenizer with --pre NAME to convert it anyway"
        )


def _kinds(node: Any) -> list[str]:
    """Return the types of a normalizer's steps."""
    if not isinstance(node, dict):
        return []
    inner = node.get("normalizers")
    return [
        str(node.get("type")),
        *(kind for each in (inner if isinstance(inner, list) else []) for kind in _kinds(each)),
    ]


def _like_llama_3(model: dict[str, Any], *, has_bos: bool) -> str:
    """Return the name of a pre-tokenizer that splits like Llama 3, by what else llama.cpp's names imply.

    All but "dbrx" use a word that is a token without merging. With "llama-bpe" llama.cpp adds the BOS token unless a
    key disables it, and uses token 11 if the vocabulary has none.
    """
    if not model.get("ignore_merges"):
        return "dbrx"  # Phi-4, OLMo 2, Granite 4; the same as smaug-bpe
    return "llama-bpe" if has_bos else "glm4"


def _joined(steps: list[str]) -> list[str]:
    """Join GPT-2's regex and bytes into the one step that does both."""
    joined: list[str] = []
    for step in steps:
        if step == "bytes" and joined and joined[-1] == f"split {_GPT_2}":
            joined[-1] = "bytes+words"
        else:
            joined.append(step)
    return joined


def _steps(node: Any) -> list[str]:
    """Return a pre-tokenizer's steps in the notation of `_BY_STRUCTURE`."""
    if not isinstance(node, dict):
        return ["none"]
    kind, behavior = node.get("type"), node.get("behavior")
    if kind == "Sequence":
        inner = node.get("pretokenizers")
        return [step for each in (inner if isinstance(inner, list) else []) for step in _steps(each)]
    if kind == "ByteLevel":
        words = "bytes+words" if node.get("use_regex", True) else "bytes"
        # A space is added before every piece; llama.cpp has no name for this.
        return [f"space+{words}" if node.get("add_prefix_space") else words]
    if kind == "Digits":
        return ["digits" if node.get("individual_digits") else "numbers"]
    if kind == "Punctuation" and behavior == "Contiguous":
        return ["punctuation"]
    if kind == "Split" and isinstance(pattern := node.get("pattern"), dict):
        regex = _spelled(pattern.get("Regex"))
        # `invert` swaps matches and the rest, which makes no difference if both are kept.
        if behavior == "Isolated" or (behavior == "Removed" and node.get("invert") and regex in _EVERYTHING):
            return [_SINGLE.get(regex, f"split {regex}") if regex else f"split text {pattern.get('String')!r}"]
    return [json.dumps(node, sort_keys=True)[:200]]


def _spelled(regex: Any) -> str:
    """Escape line ends, which some files contain literally."""
    return regex.replace("\r", r"\r").replace("\n", r"\n") if isinstance(regex, str) else ""
