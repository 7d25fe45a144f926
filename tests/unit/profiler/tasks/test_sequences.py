"""Scores and generations over shared prefixes, against their definitions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.engine import EngineError
from profiler.tasks.prefixes import LEAST_SAVED, n_shared, packs_of, waves_of
from profiler.tasks.sequences import Cache, Prompt, Scored, generate, score, windows_of
from tests.support.planted_sequences import LAST, N_VOCAB, PlantedSequences, log_likelihood, logits_after

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=24)
# Few beginnings, so that they are shared.
INPUTS = st.tuples(st.sampled_from([[], [1] * 30, [1] * 30 + [2] * 20]), TOKENS, TOKENS)


@settings(max_examples=150, deadline=None)
@given(st.lists(INPUTS, min_size=1, max_size=12), st.integers(100, 160), st.integers(2, 7), st.booleans())
def test_scores_are_those_of_each_input_alone(inputs, n_cells, n_sequences, can_rewind):
    requests = [Scored((3, *begin, *context, *rest), len(rest)) for begin, context, rest in inputs]
    model = PlantedSequences(n_cells, n_sequences, can_rewind=can_rewind)
    done: list[int] = []

    found = score(model, Cache(n_cells, n_sequences), requests, done.append)

    for request, each in zip(requests, found, strict=True):
        value, greedy = log_likelihood(request.tokens, request.n_scored)
        assert each.log_likelihood == pytest.approx(value, abs=1e-4)
        assert each.is_greedy == greedy
    assert done[-1] == len(requests)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(INPUTS, st.integers(1, 9)), min_size=1, max_size=8), st.integers(2, 5), st.booleans())
def test_generations_are_those_of_each_prompt_alone(asked, n_sequences, can_rewind):
    prompts = [Prompt((3, *begin, *context), n_new, ("bb", "c")) for (begin, context, _), n_new in asked]
    n_cells = 120

    found = generate(PlantedSequences(n_cells, n_sequences, can_rewind=can_rewind), Cache(n_cells, n_sequences),
                     prompts, lambda n_done: None)  # fmt: skip

    assert found == [_by_hand(prompt) for prompt in prompts]


def _by_hand(prompt: Prompt) -> str:
    tokens, text = list(prompt.tokens), ""
    while len(tokens) - len(prompt.tokens) < prompt.n_new:
        token = int(logits_after(tokens).argmax())
        if token == LAST:
            break
        tokens.append(token)
        text += chr(ord("a") + token)
    for stop in prompt.stops:
        text = text.split(stop)[0]
    return text


def test_a_shared_context_is_computed_once():
    context = tuple(range(1, 12)) * 9  # 99 tokens
    requests = [Scored((*context, choice, choice), 2) for choice in (2, 4, 6, 8)]
    model = PlantedSequences(512, 16)

    score(model, Cache(512, 16), requests, lambda n_done: None)

    assert model.n_computed == len(context) + 4
    assert model.n_passes == 2


def test_choices_of_one_token_share_a_row():
    requests = [Scored((1, 2, 3, choice), 1) for choice in (4, 5, 6, 7)]
    model = PlantedSequences(512, 16)

    found = score(model, Cache(512, 16), requests, lambda n_done: None)

    assert model.n_computed == 3
    assert len({each.log_likelihood for each in found}) == 4


@pytest.mark.parametrize("can_rewind", [True, False])
def test_examples_before_all_questions_are_computed_once_over_parts(can_rewind):
    examples = tuple(range(1, 12)) * 20  # 220 tokens, and a cache of 300
    requests = [Scored((*examples, number, *(5,) * 50, choice), 1) for number in range(1, 8) for choice in (2, 4)]
    model = PlantedSequences(300, 16, can_rewind=can_rewind)

    score(model, Cache(300, 16), requests, lambda n_done: None)

    assert model.n_computed == len(examples) + 7 * 51


@given(st.lists(st.lists(st.integers(0, 1), max_size=6).map(tuple), min_size=1, max_size=8, unique=True))
def test_what_inputs_share_is_their_common_beginning(inputs):
    for one in inputs:
        for other in inputs:
            n = n_shared(one, other)
            assert one[:n] == other[:n]
            assert one[n : n + 1] != other[n : n + 1] or n == min(len(one), len(other))


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=20).map(tuple), min_size=1, unique=True).map(sorted))
def test_parts_follow_each_other_and_fit(inputs):
    packs = packs_of(inputs, 40, 3)

    assert [index for first, last in packs for index in range(first, last)] == list(range(len(inputs)))
    assert all(last - first <= 3 for first, last in packs)


def test_a_pass_for_few_tokens_is_not_worth_it():
    inputs = sorted([(1, 2, 3), (1, 2, 4), (1, 2, 5)])

    (wave,) = waves_of(inputs, 0)

    assert LEAST_SAVED > 4
    assert [(edge.first, edge.start, edge.end) for edge in wave.edges] == [(0, 0, 3), (1, 0, 3), (2, 0, 3)]


def test_logits_that_are_no_numbers_are_an_error():
    class Broken(PlantedSequences):
        def advance(self, steps):
            for places, rows in super().advance(steps):
                yield places, rows * np.float32("nan")

    with pytest.raises(EngineError, match="no numbers"):
        score(Broken(64, 4), Cache(64, 4), [Scored((1, 2), 1)], lambda n_done: None)
    with pytest.raises(EngineError, match="no numbers"):
        generate(Broken(64, 4), Cache(64, 4), [Prompt((1,), 2, ())], lambda n_done: None)


@given(st.lists(st.integers(1, N_VOCAB - 1), max_size=30), st.integers(2, 9))
def test_windows_predict_each_token_once_with_as_much_context_as_fits(tokens, n_ctx):
    windows = list(windows_of(tokens, LAST, n_ctx))

    assert [token for each in windows for token in each.tokens[-each.n_scored :]] == tokens
    for each in windows[1:]:
        assert len(each.tokens) == n_ctx + 1
    assert all(len(each.tokens) - 1 <= n_ctx for each in windows)
