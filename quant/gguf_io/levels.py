"""The quantization levels: their names, llama.cpp's numbers for them, and parsing of lists of levels."""

import difflib
import re
from dataclasses import dataclass

from quant.base.errors import UserError


@dataclass(frozen=True)
class QuantLevel:
    """One level: a main type, and usually a mix in which some tensors have a more precise one.

    Whether a level needs an importance matrix depends on the model too; only llama.cpp's dry run shows it.
    """

    name: str
    ftype: int  # enum llama_ftype in include/llama.h of the pinned llama.cpp
    family: str  # "float" | "legacy" | "k-quant" | "i-quant" | "ternary" | "low-bit" | "fp4"
    main_type: str  # the ggml type of most matrices. Source: llama_ftype_get_default_type in src/llama-quant.cpp
    can_write: bool = True  # whether llama_model_quantize supports it


LEVELS = (
    QuantLevel("F32", 0, "float", "f32"),
    QuantLevel("BF16", 32, "float", "bf16"),
    QuantLevel("F16", 1, "float", "f16"),
    QuantLevel("Q8_0", 7, "legacy", "q8_0"),
    QuantLevel("Q6_K", 18, "k-quant", "q6_K"),
    QuantLevel("Q5_K_M", 17, "k-quant", "q5_K"),
    QuantLevel("Q5_K_S", 16, "k-quant", "q5_K"),
    QuantLevel("Q5_1", 9, "legacy", "q5_1"),
    QuantLevel("Q5_0", 8, "legacy", "q5_0"),
    QuantLevel("Q4_K_M", 15, "k-quant", "q4_K"),
    QuantLevel("Q4_K_S", 14, "k-quant", "q4_K"),
    QuantLevel("Q4_1", 3, "legacy", "q4_1"),
    QuantLevel("Q4_0", 2, "legacy", "q4_0"),
    QuantLevel("IQ4_NL", 25, "i-quant", "iq4_nl"),
    QuantLevel("IQ4_XS", 30, "i-quant", "iq4_xs"),
    QuantLevel("Q3_K_L", 13, "k-quant", "q3_K"),
    QuantLevel("Q3_K_M", 12, "k-quant", "q3_K"),
    QuantLevel("Q3_K_S", 11, "k-quant", "q3_K"),
    QuantLevel("IQ3_M", 27, "i-quant", "iq3_s"),
    QuantLevel("IQ3_S", 26, "i-quant", "iq3_s"),
    QuantLevel("IQ3_XS", 22, "i-quant", "iq3_s"),
    QuantLevel("IQ3_XXS", 23, "i-quant", "iq3_xxs"),
    QuantLevel("Q2_K", 10, "k-quant", "q2_K"),
    QuantLevel("Q2_K_S", 21, "k-quant", "q2_K"),
    QuantLevel("IQ2_M", 29, "i-quant", "iq2_s"),
    QuantLevel("IQ2_S", 28, "i-quant", "iq2_xs"),
    QuantLevel("IQ2_XS", 20, "i-quant", "iq2_xs"),
    QuantLevel("IQ2_XXS", 19, "i-quant", "iq2_xxs"),
    QuantLevel("IQ1_M", 31, "i-quant", "iq1_m"),
    QuantLevel("IQ1_S", 24, "i-quant", "iq1_s"),
    QuantLevel("TQ2_0", 37, "ternary", "tq2_0"),
    QuantLevel("TQ1_0", 36, "ternary", "tq1_0"),
    QuantLevel("Q2_0", 41, "low-bit", "q2_0"),
    QuantLevel("Q1_0", 40, "low-bit", "q1_0"),
    QuantLevel("MXFP4_MOE", 38, "fp4", "mxfp4"),
    QuantLevel("NVFP4", 39, "fp4", "nvfp4", can_write=False),
)
LEVEL_BY_NAME = {level.name: level for level in LEVELS}
LEVEL_BY_FTYPE = {level.ftype: level for level in LEVELS}

# The short names that llama-quantize accepts too. Source: QUANT_OPTIONS in tools/quantize/quantize.cpp.
_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
# Levels as files' names write them: also those of other makers (Q4_K_XL, Q6_K_L, Q4_0_4_4, FP16), and their marks.
_WRITTEN = (
    r"(?:(?:ud|i1|imat|imatrix)[-_.])?(?:"
    + "|".join(sorted((*LEVEL_BY_NAME, *_ALIASES, "FP16", "FP32"), key=len, reverse=True)).replace("_", "[-_]")
    + r")(?:_X?L|_4_4|_4_8|_8_8)?(?:[-_.](?:imat|imatrix))?"
)
_LEVEL_AT_END = re.compile(rf"(?P<stem>.+?)[-_.]{_WRITTEN}", re.IGNORECASE)
_LEVEL_ALONE = re.compile(_WRITTEN, re.IGNORECASE)
# Names of groups of levels, and their families; F32 is in no group.
_GROUPS = {
    "all": ("float", "legacy", "k-quant", "i-quant", "ternary", "low-bit", "fp4"),
    "k-quants": ("k-quant",),
    "legacy": ("legacy",),
    "i-quants": ("i-quant",),
}


def parse_levels(text: str) -> list[str]:
    """Read "Q4_K_M,q8_0" or "k-quants,F16" as canonical names, in the order requested, each once.

    A group means all its levels, including those that need an importance matrix; `choose_levels` omits those.

    Raises:
        UserError: the list is empty, or a level does not exist.
    """
    return list(dict.fromkeys(name for name, _ in _expand(text)))


def levels_requested_by_name(text: str) -> set[str]:
    """Return the levels that are in a list by their own names, not only through a group."""
    return {name for name, by_group in _expand(text) if not by_group}


def file_name(stem: str, level: str) -> str:
    """Return the name of a level's file; strip_level removes the level."""
    return f"{stem}-{level}.gguf"


def strip_level(stem: str) -> str:
    """Remove levels' names from the end of a file's stem: "smollm2-F16" becomes "smollm2"."""
    while match := _LEVEL_AT_END.fullmatch(stem):
        stem = match["stem"]
    return stem


def is_level(stem: str) -> bool:
    """Return whether a file's stem is a level and nothing else: "Q8_0"."""
    return _LEVEL_ALONE.fullmatch(stem) is not None


def _canonical(name: str) -> str | None:
    upper = name.upper().replace("-", "_")
    upper = _ALIASES.get(upper, upper)
    return upper if upper in LEVEL_BY_NAME else None


def _expand(text: str) -> list[tuple[str, bool]]:
    """Return each requested level, and whether a group's name requested it."""
    found: list[tuple[str, bool]] = []
    for word in (part.strip() for part in text.split(",")):
        if not word:
            continue
        group = word.lower().replace("_", "-")
        if families := _GROUPS.get(group) or _GROUPS.get(group + "s"):
            found += [
                (level.name, True)
                for level in LEVELS
                if level.family in families and level.can_write and level.name != "F32"
            ]
        elif (name := _canonical(word)) and LEVEL_BY_NAME[name].can_write:
            found.append((name, False))
        else:
            raise UserError(_unknown(word))
    if not found:
        raise UserError("the list of levels is empty; write -q Q4_K_M,Q8_0, -q k-quants or -q all")
    return found


def _unknown(word: str) -> str:
    known = [level.name for level in LEVELS if level.can_write]
    shown = word if len(word) <= 40 else word[:40] + "…"
    if _canonical(word):
        return (
            f"llama.cpp cannot quantize to {shown}, which a checkpoint that is stored so keeps without -q; "
            f"choose from {', '.join(known)}"
        )
    close = difflib.get_close_matches(word.upper()[:40].replace("-", "_"), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}? " if close else ""
    return f"there is no level '{shown}'; {hint}known are {', '.join(known)}, and the groups {', '.join(_GROUPS)}"
