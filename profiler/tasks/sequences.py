"""Log-likelihoods and greedy generations of many inputs, over prefixes that they share.

What is scored and how texts are cut follows lm-evaluation-harness, so that its figures can be compared.
Source: lm_eval/models/huggingface.py and lm_eval/utils.py of lm_eval 0.4.13.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from profiler.engine import Step, not_finite
from profiler.tasks.prefixes import LEAST_SAVED, Edge, Tokens, Wave, n_shared, packs_of, waves_of


class Score(NamedTuple):
    """Of a continuation after its context."""

    log_likelihood: float  # nats
    is_greedy: bool  # whether each of its tokens is the most probable one


class Scored(NamedTuple):
    """An input: the last `n_scored` tokens of `tokens` are predicted from those before them."""

    tokens: Tokens
    n_scored: int


class Prompt(NamedTuple):
    """What is continued."""

    tokens: Tokens
    n_new: int  # tokens at most
    stops: tuple[str, ...]  # texts that end it


class SequenceModel(Protocol):
    """What is needed of a model; see profiler/engine/sequences.py."""

    @property
    def can_rewind(self) -> bool:
        """Whether a sequence can be cut."""

    def clear(self) -> None:
        """Empty the cache."""

    def copy(self, source: int, target: int) -> None:
        """Make an empty sequence another one's continuation."""

    def cut(self, sequence: int, position: int) -> bool:
        """Drop a sequence's tokens from a position on."""

    def advance(self, steps: Sequence[Step]) -> Iterator[tuple[list[int], Any]]:
        """Compute tokens; yield places and logits."""

    def ends(self, token: int) -> bool:
        """Return whether a token ends what is generated."""

    def text_of(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens."""


class Cache(NamedTuple):
    """What an open context has room for."""

    n_cells: int
    n_sequences: int  # the last one is this module's own


OnDone = Callable[[int], None]
OnRow = Callable[[Sequence[int], int, Any], None]  # inputs, position, (n_vocab,) float32 logits of the token after it


class _Computer:
    """Computes sorted inputs part by part; what all of a part and of the next begin with is computed once."""

    def __init__(self, model: SequenceModel, cache: Cache) -> None:
        self._model, self._trunk_sequence = model, cache.n_sequences - 1
        self._trunk: Tokens = ()  # in the trunk's sequence
        self._n_used = 0  # sequences of the part before
        model.clear()

    def compute(self, inputs: Sequence[Tokens], n_wanted: Sequence[int], after: Sequence[Tokens], row: OnRow) -> None:
        """Compute a part; `row` gets the logits after each of the last `n_wanted` tokens of each input.

        Args:
            after: the next part.
        """
        # Logits that are wanted have to be computed.
        most = min(len(tokens) - wanted for tokens, wanted in zip(inputs, n_wanted, strict=True))
        start = self._begin(inputs, most)
        if after and (end := min(n_shared(inputs[0], after[-1]), most)) >= start + LEAST_SAVED:
            trunk = Wave([], [Edge(0, len(inputs), start, end)])
            _compute_wave(self._model, trunk, inputs, n_wanted, row)
            self._model.cut(self._trunk_sequence, -1)
            self._model.copy(0, self._trunk_sequence)
            self._trunk, start = inputs[0][:end], end
        for wave in waves_of(inputs, start):
            _compute_wave(self._model, wave, inputs, n_wanted, row)

    def _begin(self, inputs: Sequence[Tokens], most: int) -> int:
        """Empty the cache but for what all inputs share with the trunk, put that into sequence 0; return its length."""
        kept = min(n_shared(self._trunk, inputs[0]), n_shared(inputs[0], inputs[-1]), most)
        is_kept = kept > 0 and (kept == len(self._trunk) or self._model.can_rewind)
        if is_kept:
            for sequence in range(self._n_used):
                self._model.cut(sequence, -1)
            is_kept = kept == len(self._trunk) or self._model.cut(self._trunk_sequence, kept)
        if is_kept:
            self._model.copy(self._trunk_sequence, 0)
        else:
            self._model.clear()
            kept = 0
        self._trunk, self._n_used = self._trunk[:kept], len(inputs)
        return kept


def _compute_wave(
    model: SequenceModel, wave: Wave, inputs: Sequence[Tokens], n_wanted: Sequence[int], row: OnRow
) -> None:
    for source, target in wave.copies:
        model.copy(source, target)
    steps: list[Step] = []
    readers: list[list[int]] = []  # of each step, the inputs that want its logits
    for edge in wave.edges:
        members = range(edge.first, edge.last)
        wanted_from = {member: len(inputs[member]) - n_wanted[member] for member in members}
        earliest = min(wanted_from.values())
        for position in range(edge.start, edge.end):
            who = [each for each in members if position >= wanted_from[each]] if position >= earliest else []
            steps.append(Step(inputs[edge.first][position], position, edge.first, bool(who)))
            readers.append(who)
    for places, logits in model.advance(steps):
        for place, values in zip(places, logits, strict=True):
            row(readers[place], steps[place].position, values)


def score(model: SequenceModel, cache: Cache, requests: Sequence[Scored], on_done: OnDone) -> list[Score]:
    """Return the score of each request.

    Args:
        model: with an open context.
        cache: of that context.
        requests: none with more than n_cells tokens before the last.
        on_done: gets how many are finished, now and then.

    Raises:
        EngineError: llama.cpp failed, or a logit is not finite.
    """
    by_input: dict[Tokens, list[int]] = {}
    for place, request in enumerate(requests):
        by_input.setdefault(request.tokens[:-1], []).append(place)
    inputs = sorted(by_input)
    sums, greedy = [0.0] * len(requests), [True] * len(requests)
    computer, n_done = _Computer(model, cache), 0
    packs = packs_of(inputs, cache.n_cells, cache.n_sequences - 1)
    for number, (first, last) in enumerate(packs):
        askers = [by_input[tokens] for tokens in inputs[first:last]]

        def read(members: Sequence[int], position: int, logits: Any, askers: list[list[int]] = askers) -> None:
            log_sum, top = _log_sum(logits)
            for place in (place for member in members for place in askers[member]):
                tokens, n_scored = requests[place]
                if position + 1 >= len(tokens) - n_scored:
                    token = tokens[position + 1]
                    sums[place] += float(logits[token]) - log_sum
                    greedy[place] &= token == top

        n_wanted = [max(requests[place].n_scored for place in places) for places in askers]
        after = inputs[last : packs[number + 1][1]] if number + 1 < len(packs) else []
        computer.compute(inputs[first:last], n_wanted, after, read)
        n_done += sum(map(len, askers))
        on_done(n_done)
    return list(map(Score, sums, greedy))


def _log_sum(logits: Any) -> tuple[float, int]:
    """Return the logarithm of the sum of the exponentials of (n_vocab,) logits, and the most probable token."""
    top = int(logits.argmax())
    largest = logits[top]
    with np.errstate(invalid="ignore"):  # of infinite logits; the result shows it
        total = float(np.add.reduce(np.exp(logits - largest), dtype=np.float64))
    if not (np.isfinite(largest) and np.isfinite(total)):
        raise not_finite()
    return float(largest) + math.log(total), top


def generate(model: SequenceModel, cache: Cache, prompts: Sequence[Prompt], on_done: OnDone) -> list[str]:
    """Continue each prompt greedily until a stop text, a token that ends it, or its most new tokens.

    Args:
        model: with an open context.
        cache: of that context.
        prompts: none with more than n_cells tokens, its new ones counted.
        on_done: gets how many are finished, now and then.

    Raises:
        EngineError: llama.cpp failed, or a logit is not finite.
    """
    by_input: dict[Tokens, list[int]] = {}
    for place, prompt in enumerate(prompts):
        by_input.setdefault(prompt.tokens, []).append(place)
    inputs = sorted(by_input)
    texts = [""] * len(prompts)
    computer, n_done = _Computer(model, cache), 0
    n_new = max((prompt.n_new for prompt in prompts), default=0)
    packs = packs_of(inputs, cache.n_cells, cache.n_sequences - 1, n_new)
    for number, (first, last) in enumerate(packs):
        part = inputs[first:last]
        askers = [by_input[tokens] for tokens in part]
        runs = [_Run(model, [prompts[place] for place in places]) for places in askers]

        def take(members: Sequence[int], _: int, logits: Any, runs: list[_Run] = runs) -> None:
            for member in members:
                runs[member].take(logits)

        after = inputs[last : packs[number + 1][1]] if number + 1 < len(packs) else []
        computer.compute(part, [1] * len(part), after, take)
        _finish(model, part, runs)
        for run, places in zip(runs, askers, strict=True):
            for place in places:
                texts[place] = run.text(prompts[place])
        n_done += sum(map(len, askers))
        on_done(n_done)
    return texts


def _finish(model: SequenceModel, inputs: Sequence[Tokens], runs: "Sequence[_Run]") -> None:
    """Generate in all sequences at once, until none is open."""
    while active := [member for member, run in enumerate(runs) if run.is_open]:
        steps = [
            Step(runs[each].tokens[-1], len(inputs[each]) + len(runs[each].tokens) - 1, each, True) for each in active
        ]
        for places, logits in model.advance(steps):
            for place, values in zip(places, logits, strict=True):
                runs[active[place]].take(values)


class _Run:
    """What is generated after one input, for prompts that differ in their limits only."""

    def __init__(self, model: SequenceModel, prompts: Sequence[Prompt]) -> None:
        self._model, self._prompts = model, prompts
        self._n_new = max(prompt.n_new for prompt in prompts)
        self._has_ended = False
        self.tokens: list[int] = []

    @property
    def is_open(self) -> bool:
        """Whether another token is wanted."""
        if self._has_ended or len(self.tokens) >= self._n_new:
            return False
        text = self._model.text_of(self.tokens)
        return not all(any(stop in text for stop in prompt.stops if stop) for prompt in self._prompts)

    def take(self, logits: Any) -> None:
        """Choose the next token."""
        token = int(logits.argmax())
        if not np.isfinite(logits[token]):
            raise not_finite()
        if self._model.ends(token):
            self._has_ended = True
        else:
            self.tokens.append(token)

    def text(self, prompt: Prompt) -> str:
        """Return what a prompt is continued with, cut before the first of its stops."""
        text = self._model.text_of(self.tokens[: prompt.n_new])
        for stop in prompt.stops:
            if stop:
                text = text.split(stop)[0]
        return text


def windows_of(tokens: Sequence[int], prefix: int, n_ctx: int) -> Iterator[Scored]:
    """Yield a text in windows of at most n_ctx inputs, in which each token is predicted once.

    Each window has as much context as fits; the first token follows `prefix`.
    """
    head = min(n_ctx, len(tokens))
    if head:
        yield Scored((prefix, *tokens[:head]), head)
    done = head
    while done < len(tokens):
        end = min(done + n_ctx, len(tokens))
        yield Scored(tuple(tokens[max(0, end - n_ctx - 1) : end]), end - done)
        done = end
