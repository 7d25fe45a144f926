"""Several sequences in one context of llama.cpp: tokens of many in one batch, prefixes shared without computing twice.

A prefix is computed in one sequence and copied to others. In a KV cache of attention that marks its cells as theirs
too; of a recurrent layer it copies the state.
"""

import ctypes
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from profiler.engine import EngineError, Step
from profiler.engine.llama import LlamaEngine
from profiler.records.config import RunConfig
from quant.base.llama_bindings import llama_cpp, token_ids


class SequenceEngine(LlamaEngine):
    """A model in a context with several sequences."""

    def open_sequences(self, config: RunConfig, n_sequences: int) -> None:
        """Make another context, with cells for n_ctx tokens of all sequences together.

        Raises:
            EngineError: "context".
        """
        self.close_context()
        self.n_sequences = n_sequences
        self.open_context(config)

    @property
    def n_ctx_train(self) -> int:
        """The longest sequence that the model was trained on."""
        return int(llama_cpp.llama_model_n_ctx_train(self._model))

    @property
    def can_rewind(self) -> bool:
        """Whether a sequence can be cut: a recurrent layer's state is that of the last token alone."""
        return not (llama_cpp.llama_model_is_recurrent(self._model) or llama_cpp.llama_model_is_hybrid(self._model))

    def copy(self, source: int, target: int) -> None:
        """Make a sequence, which must be empty, another one's continuation so far."""
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def cut(self, sequence: int, position: int) -> bool:
        """Drop a sequence's tokens from a position on; False where this model's memory cannot do that."""
        return bool(llama_cpp.llama_memory_seq_rm(self._memory, sequence, position, -1))

    def advance(self, steps: Sequence[Step]) -> Iterator[tuple[list[int], np.ndarray]]:
        """Compute some tokens, in batches; yield places in `steps` and the logits after them.

        Logits are (n, n_vocab) float32 and valid until the next batch. Tokens of a sequence are in order.

        Raises:
            EngineError: "decode".
        """
        assert self._config is not None
        n_batch = self._config.n_batch
        n_outputs = self._config.n_outputs_max or n_batch
        batch = llama_cpp.llama_batch_init(n_batch, 0, 1)
        try:
            for first, last in _parts(steps, n_batch, n_outputs):
                yield from self._advance(batch, steps, first, last)
        finally:
            llama_cpp.llama_batch_free(batch)

    def _advance(
        self, batch: Any, steps: Sequence[Step], first: int, last: int
    ) -> Iterator[tuple[list[int], np.ndarray]]:
        batch.n_tokens = last - first
        tokens, positions, counts = batch.token, batch.pos, batch.n_seq_id
        sequences, wanted = batch.seq_id, batch.logits
        for index, step in enumerate(steps[first:last]):
            tokens[index], positions[index], counts[index] = step.token, step.position, 1
            sequences[index][0], wanted[index] = step.sequence, step.wanted
        self._decode(batch)
        llama_cpp.llama_synchronize(self._context)
        places = [place for place in range(first, last) if steps[place].wanted]
        if places:
            values = llama_cpp.llama_get_logits(self._context)
            rows: Any = (self._row_type * len(places)).from_address(ctypes.addressof(values.contents))
            yield places, np.frombuffer(rows, dtype=np.float32).reshape(len(places), self.n_vocab)

    def encode(self, text: str, *, with_bos: bool) -> list[int]:
        """Return the ids of a text, in which the text of a special token is that token.

        Args:
            with_bos: begin with BOS where the vocabulary does, unless the text does so itself.

        Raises:
            EngineError: "tokens": the model has no vocabulary.
        """
        if llama_cpp.llama_vocab_type(self._vocab) == llama_cpp.LLAMA_VOCAB_TYPE_NONE:
            raise EngineError("tokens", "the model has no vocabulary; tasks need a model with its tokenizer")
        ids = token_ids(self._vocab, text, add_special=False, parse_special=True)
        bos = self.bos_token
        return [bos, *ids] if with_bos and bos is not None and ids[:1] != [bos] else ids

    @property
    def prefix_token(self) -> int:
        """The token that stands before a text without context: BOS, else the end of a text.

        Raises:
            EngineError: "tokens": the vocabulary has neither.
        """
        for find in (llama_cpp.llama_vocab_bos, llama_cpp.llama_vocab_eos, llama_cpp.llama_vocab_eot):
            if (token := int(find(self._vocab))) >= 0:
                return token
        raise EngineError("tokens", "the vocabulary has neither a first nor a last token, so no empty context")

    def ends(self, token: int) -> bool:
        """Return whether a token ends what the model generates."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocab, token))

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without that of special ones."""
        ids = (llama_cpp.llama_token * max(1, len(tokens)))(*tokens)
        n_bytes = 16 + 8 * len(tokens)
        while True:
            room = ctypes.create_string_buffer(n_bytes)
            n_used = llama_cpp.llama_detokenize(self._vocab, ids, len(tokens), room, n_bytes, False, False)
            if n_used >= 0:
                return room.raw[:n_used].decode(errors="replace")
            n_bytes = -n_used


def _parts(steps: Sequence[Step], n_batch: int, n_outputs: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last place, exclusive, of each batch."""
    first = n_wanted = 0
    for place, step in enumerate(steps):
        if place - first == n_batch or (step.wanted and n_wanted == n_outputs):
            yield first, place
            first, n_wanted = place, 0
        n_wanted += step.wanted
    if first < len(steps):
        yield first, len(steps)
