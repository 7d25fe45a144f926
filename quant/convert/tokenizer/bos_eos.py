"""Whether BOS and EOS are added: as tokenizer.json's post-processor does, and tokenizer_config.json where it has none.

gguf's own reader adds a key for some post-processors only, and llama.cpp's defaults depend on the pre-tokenizer's name.
"""

from typing import Any

import gguf

from quant.convert.tokenizer.post_processor import added_ends

# The pre-tokenizers with which llama.cpp adds BOS unless a key says otherwise.
# Source: impl::load in src/llama-vocab.cpp of the pinned llama.cpp.
_WITH_BOS = {
    "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano", "tekken",
    "chameleon",
}  # fmt: skip


def set_bos_and_eos(special: gguf.SpecialVocab, tokenizer: dict[str, Any], settings: dict[str, Any], pre: str) -> bool:
    """Set which tokens llama.cpp adds; a key is only added where its default is another. Return whether BOS is one.

    Args:
        pre: the pre-tokenizer's name in llama.cpp; "default" for SentencePiece.
    """
    ends = added_ends(tokenizer, settings, special.special_token_ids)
    if ends is None:
        return False
    defaults = {"bos": pre in _WITH_BOS or pre == "default", "eos": False}
    for name, ids in zip(("bos", "eos"), ends, strict=True):
        if len(ids) > 1:
            continue  # llama.cpp adds one at most; the probe of the tokens refuses it
        if ids and special.special_token_ids.get(name) != ids[0]:
            _name(special, name, ids[0])
        if special.add_special_token.get(name, defaults[name]) != bool(ids):
            special.add_special_token[name] = bool(ids)
    return bool(ends[0])


def _name(special: gguf.SpecialVocab, name: str, token_id: int) -> None:
    """Set the token that is added; an EOS that the config names still ends a turn."""
    if name == "eos" and name in special.special_token_ids:
        special.special_token_ids.setdefault("eot", special.special_token_ids[name])
    special.special_token_ids[name] = token_id
