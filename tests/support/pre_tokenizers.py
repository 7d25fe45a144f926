"""The pre-tokenizers of published models, as their tokenizer.json files have them.

Each stands under the name that llama.cpp's converter gives the model. Source: the models' own tokenizer.json;
src/llama-vocab.cpp of the pinned llama.cpp has the same expressions, adapted.
"""

from typing import Any

WORDS = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
BYTES = {**WORDS, "use_regex": False}
DIGITS = {"type": "Digits", "individual_digits": True}
NUMBERS = {"type": "Digits", "individual_digits": False}
PUNCTUATION = {"type": "Punctuation", "behavior": "Contiguous"}

GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_35 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
STABLELM_2 = (  # with line ends as they are
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\r\n]*"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
MINICPM_5 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SEED_CODER = (
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+"
    "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
GPT_4O = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
BLOOM = r" ?[^(\s|[.,!?…。，、।۔،])]+"  # noqa: RUF001  the signs of many scripts
DEEPSEEK_LETTERS = (
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
DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_3 = (
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"
)


def split(pattern: str, behavior: str = "Isolated", *, invert: bool = False) -> dict[str, Any]:
    """Return a step that splits at what an expression matches."""
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def sequence(*steps: Any) -> dict[str, Any]:
    """Return several steps as one."""
    return {"type": "Sequence", "pretokenizers": list(steps)}


BY_NAME = {
    "gpt-2": WORDS,
    "phi-2": WORDS,
    "mpt": WORDS,
    "olmo": WORDS,  # and GPT-NeoX
    "smollm": sequence(DIGITS, WORDS),
    "starcoder": sequence(DIGITS, WORDS),
    "refact": sequence(DIGITS, WORDS),
    "command-r": sequence(DIGITS, WORDS),
    "codeshell": sequence(DIGITS, WORDS),
    "exaone": sequence(DIGITS, WORDS),
    "llama-bpe": sequence(split(LLAMA_3), BYTES),
    "dbrx": sequence(split(LLAMA_3, "Removed", invert=True), BYTES),  # Phi-4, Granite 4, OLMo 2
    "qwen2": sequence(split(QWEN_2), BYTES),
    "stablelm2": sequence(split(STABLELM_2), BYTES),
    "qwen35": sequence(split(QWEN_35), BYTES),
    "tekken": sequence(split(TEKKEN), BYTES),
    "gpt-4o": sequence(split(GPT_4O, "Removed", invert=True), BYTES),
    "llama4": sequence(split(GPT_4O), BYTES),
    "falcon": sequence(PUNCTUATION, WORDS, NUMBERS, split("[0-9][0-9][0-9]")),
    "falcon3": sequence(PUNCTUATION, WORDS, DIGITS),
    "deepseek-coder": sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(DEEPSEEK_CJK), DIGITS, BYTES
    ),
    "deepseek-llm": sequence(
        split("[\r\n]"),
        split(DEEPSEEK_LETTERS),
        split("\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"),
        split(r"\s+$"),
        split(DEEPSEEK_CJK),
        DIGITS,
        BYTES,
    ),
    "deepseek-v3": sequence(
        split(r"\p{N}{1,3}"), split("[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"), split(DEEPSEEK_3), BYTES
    ),
    "bloom": sequence(split(BLOOM), BYTES),
    "viking": sequence(split(BLOOM), DIGITS, BYTES),
    "minicpm5": sequence(split(r"\p{N}{1,3}"), split(MINICPM_5), BYTES),
    "seed-coder": sequence(split(SEED_CODER), BYTES),
    "tiny_aya": sequence(split(r"\d{1,3}(?=(?:\d{3})*\b)"), split(GPT_4O), BYTES),
}
# Models whose files mark that a word which is a token is taken as it is.
IGNORING_MERGES = ("llama-bpe", "llama4", "tekken")
# Names that llama.cpp splits alike under, so that one is found for all: read off src/llama-vocab.cpp.
ALIKE = {
    "gpt-2": ("phi-2", "mpt", "olmo"),
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone"),
    "qwen2": ("stablelm2",),
    "gpt-4o": ("llama4",),
}


def found_name(name: str) -> str:
    """Return the name that stands for all those that split alike."""
    return next((one for one, others in ALIKE.items() if name in others), name)
