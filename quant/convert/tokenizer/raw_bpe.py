"""Byte-fallback BPE of which llama.cpp applies the merges themselves, to text that is not written as byte characters.

Source: Gemma4Model.set_vocab in conversion/gemma.py, LlamaHfVocab in gguf/vocab.py, and the pre-tokenizer gemma4 in
src/llama-vocab.cpp of the pinned llama.cpp.
"""

from pathlib import Path
from typing import Any

import gguf

from quant.convert.tokenizer.bos_eos import set_bos_and_eos
from quant.convert.tokenizer.bpe import byte_fallback_tokens
from quant.convert.tokenizer.files import read_json
from quant.convert.tokenizer.special import special_vocab
from quant.convert.tokenizer.vocabulary import Vocabulary, is_byte_fallback, load_vocabulary

_SCORE = -1000.0  # of every token; llama.cpp reads the merges instead
# Control tokens that llama.cpp shows, since they structure an answer.
_SHOWN = {
    b"<|channel>", b"<channel|>", b"<|tool_call>", b"<tool_call|>", b"<|tool_response>", b"<tool_response|>", b'<|"|>',
}  # fmt: skip


class RawVocabulary(Vocabulary, kw_only=True):
    """A vocabulary whose model is named as its pre-tokenizer, for which there is no key."""

    def write(self, writer: gguf.GGUFWriter) -> None:
        """Add all tokenizer.* keys."""
        writer.add_tokenizer_model(self.model)
        writer.add_token_list(self.tokens.texts)
        writer.add_token_scores([_SCORE] * self.n_tokens)
        writer.add_token_types(self.tokens.types)
        self.special.add_to_gguf(writer, quiet=True)
        writer.add_add_space_prefix(False)
        writer.add_add_bos_token(True)


def raw_vocabulary(folder: Path, config: dict[str, Any], model: str, pre: str | None) -> Vocabulary:
    """Read a vocabulary with its merges; one of another kind as any other.

    Args:
        model: llama.cpp's name of this kind.

    Raises:
        UserError: as load_vocabulary.
    """
    tokenizer = read_json(folder / "tokenizer.json")
    if pre is not None or tokenizer is None or not is_byte_fallback(tokenizer):
        return load_vocabulary(folder, config, pre=pre)
    settings = read_json(folder / "tokenizer_config.json") or {}
    tokens = byte_fallback_tokens(folder, tokenizer, settings, config.get("vocab_size"))
    for token_id, text in enumerate(tokens.texts):
        if text in _SHOWN:
            tokens.types[token_id] = int(gguf.TokenType.USER_DEFINED)
    special = special_vocab(folder, tokenizer, n_vocab=len(tokens.texts), load_merges=True)
    adds_bos = set_bos_and_eos(special, tokenizer, settings, model)
    tokens.make_unique()
    return RawVocabulary(model=model, pre=model, tokens=tokens, special=special, adds_bos=adds_bos)
