"""Tokens by id, as GGUF stores them."""

from typing import Self

import msgspec
from gguf import TokenType


class Tokens(msgspec.Struct, kw_only=True):
    """Token texts, types (gguf.TokenType numbers) and, for SentencePiece, scores; one entry per id."""

    texts: list[bytes]
    types: list[int]
    scores: list[float] | None = None

    @classmethod
    def padded(cls, size: int, score: float | None = None) -> Self:
        """Return ids without tokens, with texts like "[PAD7]" and, where there are scores, one score."""
        return cls(
            texts=[f"[PAD{token_id}]".encode() for token_id in range(size)],
            types=[int(TokenType.UNUSED)] * size,
            scores=None if score is None else [score] * size,
        )

    def make_unique(self) -> None:
        """Make the second of two ids with one text unused: llama.cpp aborts on them, and no text is ever that id."""
        seen: dict[bytes, int] = {}
        # Unused ids come last, so that the text of one never takes that of a token.
        for token_id in sorted(range(len(self.texts)), key=lambda each: self.types[each] == TokenType.UNUSED):
            if self.texts[token_id] in seen:
                text = f"[PAD{token_id}]".encode()
                while text in seen:
                    text += b"]"
                self.texts[token_id], self.types[token_id] = text, int(TokenType.UNUSED)
            seen[self.texts[token_id]] = token_id

    def put(self, token_id: int, text: bytes, kind: TokenType, score: float | None = None) -> None:
        """Set the token of an id; without a score the id keeps its own."""
        self.texts[token_id], self.types[token_id] = text, int(kind)
        if self.scores is not None and score is not None:
            self.scores[token_id] = score
