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

    def put(self, token_id: int, text: bytes, kind: TokenType, score: float | None = None) -> None:
        """Set the token of an id; without a score the id keeps its own."""
        self.texts[token_id], self.types[token_id] = text, int(kind)
        if self.scores is not None and score is not None:
            self.scores[token_id] = score
