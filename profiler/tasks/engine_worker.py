"""One process with one model: it answers the harness's requests. Run as `python -m profiler.tasks.engine_worker`.

How texts become tokens follows lm_eval/models/huggingface.py and lm_eval/api/model.py of lm_eval 0.4.13.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from profiler.engine import EngineError, as_failure
from profiler.engine.sequences import SequenceEngine
from profiler.records.config import RunConfig, base_config
from profiler.tasks.messages import LEAST_CELLS, Ask, Continue, Model, Pair, Reply
from profiler.tasks.sequences import Cache, Prompt, Scored, generate, score, windows_of
from quant.base.text import decoded
from quant.base.worker import Pipes

_MOST_SEQUENCES = 64
_MOST_STATE_BYTES = 256 << 20  # of recurrent layers, of all sequences
_MOST_LOGITS_BYTES = 64 << 20
_N_GENERATED = 8  # continuations at once
_BATCH_TOKENS = 2048


class Answerer:
    """A model that answers requests; its context grows with them."""

    def __init__(self, engine: SequenceEngine, model: Model) -> None:
        self._engine, self._model = engine, model
        engine.load(Path(model.path), self._config(LEAST_CELLS))
        self._n_ctx = min(model.n_ctx or engine.n_ctx_train, engine.n_ctx_train)
        self._cache = Cache(0, 0)

    def _config(self, n_cells: int, n_outputs: int = 1) -> RunConfig:
        return base_config(
            workload="tasks",
            n_ctx=n_cells,
            n_batch=min(n_cells, _BATCH_TOKENS),
            n_outputs_max=n_outputs,
            n_threads=self._model.n_threads,
            repack=self._model.repack,
            # Sequences are cut and copied, for which a window's cache has to hold all of them.
            swa_full=True,
        )

    def _open(self, n_cells: int, n_sequences: int) -> Cache:
        """Return a context with at least so many cells, and with so many sequences as their state allows."""
        state_bytes = max(1, self._model.state_bytes)
        n_sequences = max(2, min(n_sequences, _MOST_SEQUENCES, _MOST_STATE_BYTES // state_bytes))
        if n_cells > self._cache.n_cells or n_sequences != self._cache.n_sequences:
            n_outputs = max(1, _MOST_LOGITS_BYTES // (4 * self._engine.n_vocab))
            n_cells = max(n_cells, self._cache.n_cells)
            self._engine.open_sequences(self._config(n_cells, min(n_outputs, 512)), n_sequences)
            self._cache = Cache(n_cells, n_sequences)
        return self._cache

    def answer(self, ask: Ask, on_done: Callable[[int], None]) -> Reply:
        """Answer requests.

        Raises:
            EngineError: llama.cpp failed, or a request cannot be answered.
        """
        if ask.pairs:
            found = self._score([self._of_pair(pair) for pair in ask.pairs], on_done)
            return Reply(scores=tuple(found))
        if ask.texts:
            return Reply(sums=tuple(self._of_texts(ask.texts, on_done)))
        return Reply(texts=tuple(self._continue(ask.continuations, on_done)))

    def _score(self, requests: Sequence[Scored], on_done: Callable[[int], None]) -> list[tuple[float, bool]]:
        longest = max(len(request.tokens) - 1 for request in requests)
        cache = self._open(max(LEAST_CELLS, longest), _MOST_SEQUENCES)
        return [(each.log_likelihood, each.is_greedy) for each in score(self._engine, cache, requests, on_done)]

    def _of_pair(self, pair: Pair) -> Scored:
        """Return the tokens of a pair, cut from the left to what the model takes."""
        context, continuation = self._tokens_of(pair)
        if not continuation:
            raise EngineError("tokens", f"the tokenizer makes no token of the continuation {pair.continuation[:40]!r}")
        if len(continuation) > self._n_ctx:
            raise EngineError(
                "context", f"a continuation has {len(continuation)} tokens, more than --n-ctx {self._n_ctx}"
            )
        return Scored(tuple([*context, *continuation][-(self._n_ctx + 1) :]), len(continuation))

    def _tokens_of(self, pair: Pair) -> tuple[list[int], list[int]]:
        """Return a context's and a continuation's tokens; spaces at the end of a context belong to the latter."""
        engine = self._engine
        if not pair.context:
            tokens = engine.encode(pair.continuation, with_bos=False)
            prefix = engine.prefix_token
            return (tokens[:1], tokens[1:]) if tokens[:1] == [prefix] else ([prefix], tokens)
        context = pair.context.rstrip()
        continuation = pair.context[len(context) :] + pair.continuation
        before = engine.encode(context, with_bos=True)
        tokens = engine.encode(context + continuation, with_bos=True)[len(before) :]
        return before or [engine.prefix_token], tokens

    def _of_texts(self, texts: Sequence[str], on_done: Callable[[int], None]) -> list[float]:
        engine = self._engine
        windows = [
            list(windows_of(engine.encode(text, with_bos=True), engine.prefix_token, self._n_ctx)) for text in texts
        ]
        scores = iter(self._score([each for one in windows for each in one], on_done))
        return [sum(next(scores)[0] for _ in one) for one in windows]

    def _continue(self, continuations: Sequence[Continue], on_done: Callable[[int], None]) -> list[str]:
        prompts = []
        for each in continuations:
            most = self._n_ctx - each.n_new
            if most < 1:
                raise EngineError(
                    "context", f"{each.n_new} new tokens need a context of more than that; it is {self._n_ctx}"
                )
            tokens = self._engine.encode(each.context, with_bos=True) or [self._engine.prefix_token]
            prompts.append(Prompt(tuple(tokens[-most:]), each.n_new, each.stops))
        needs = sorted((len(prompt.tokens) + prompt.n_new for prompt in prompts), reverse=True)
        cache = self._open(max(LEAST_CELLS, needs[0], sum(needs[:_N_GENERATED])), _N_GENERATED + 1)
        return generate(self._engine, cache, prompts, on_done)


def main() -> None:
    """Open the model, then answer until the parent is gone."""
    from profiler.device.memory.reader import read_memory

    pipes = Pipes()
    model = pipes.receive(Model)
    if model is None:
        return
    requests = pipes.requests()
    answerer: Answerer | None = None
    while True:
        ask = decoded(requests.get(), Ask)
        try:
            answerer = answerer or Answerer(SequenceEngine(), model)
            reply = answerer.answer(ask, lambda n_done: pipes.send(Reply(n_done=n_done)))
        except (EngineError, MemoryError) as error:
            reply = Reply(failure=as_failure(error))
        memory = read_memory(Path(model.path))
        pipes.send(msgspec.structs.replace(reply, peak_rss_bytes=memory.peak_rss_bytes))


if __name__ == "__main__":
    main()
