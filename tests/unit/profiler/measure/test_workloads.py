"""The fixed prompts: counts as in docs/how-it-measures.md, texts that fill them, ids in exact numbers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.measure.workloads import WORKLOADS, find_workload, prompt_tokens, random_tokens, read_text
from quant.base.errors import UserError
from tests.support.paths import ROOT

METHOD = ROOT / "docs" / "how-it-measures.md"
TEXTS = ("survey", "chat", "rag", "summarize")


@pytest.mark.parametrize(
    ("name", "mode", "n_prompt", "n_gen", "n_ctx"),
    [
        ("bench", "separate", 512, 128, None),
        ("survey", "request", 50, 50, 2048),
        ("chat", "request", 128, 128, 2048),
        ("rag", "request", 1024, 128, None),
        ("summarize", "request", 1536, 192, None),
    ],
)
def test_counts(name: str, mode: str, n_prompt: int, n_gen: int, n_ctx: int | None) -> None:
    found = find_workload(name)
    assert (found.mode, found.n_prompt, found.n_gen, found.n_ctx) == (mode, n_prompt, n_gen, n_ctx)


def test_the_readme_tells_the_same_counts() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\d+) / (\d+) \| ([\w ]+) \|$", METHOD.read_text(), re.MULTILINE)
    assert [(name, mode, int(n_prompt), int(n_gen)) for name, mode, n_prompt, n_gen, _ in rows] == [
        (each.name, each.mode, each.n_prompt, each.n_gen) for each in WORKLOADS.values()
    ]
    contexts = [None if context == "as needed" else int(context) for *_, context in rows]
    assert contexts == [each.n_ctx for each in WORKLOADS.values()]


def test_a_name_is_found_as_people_type_it() -> None:
    assert find_workload(" Chat ").name == "chat"


def test_an_unknown_name_is_told_the_known_ones() -> None:
    with pytest.raises(UserError, match="unknown workload 'chatt'; choose from bench, survey, chat, rag, summarize"):
        find_workload("chatt")


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_fills_its_prompt_without_being_repeated(name: str) -> None:
    # No tokenizer here joins words or marks, so a text has at least as many tokens as it has of them.
    pieces = re.findall(r"\w+|[^\w\s]+", read_text(name) or "")
    assert len(pieces) >= WORKLOADS[name].n_prompt


def test_texts_are_distinct_and_plain() -> None:
    texts = [read_text(name) or "" for name in TEXTS]
    assert len({text[:40] for text in texts}) == len(TEXTS)
    for text in texts:
        assert text.isascii()  # every vocabulary has these characters
        assert "<" not in text  # nothing that a tokenizer could take for a special token
        paragraphs = [each for each in text.split("\n\n") if len(each) > 40]
        assert len(set(paragraphs)) == len(paragraphs)


def test_without_a_text_there_is_none() -> None:
    assert read_text("bench") is None
    assert read_text("custom") is None


@pytest.mark.parametrize(
    ("n_tokens", "bos", "ids"),
    [
        (0, 1, []),
        (0, None, []),
        (1, 1, [1]),
        (1, None, [7]),
        (3, 1, [1, 7, 8]),
        (4, 1, [1, 7, 8, 9]),
        (6, 1, [1, 7, 8, 9, 7, 8]),  # repeated, BOS not
        (6, None, [7, 8, 9, 7, 8, 9]),
        (2, 0, [0, 7]),  # 0 is an id like others
    ],
)
def test_a_prompt_is_bos_and_the_text_repeated_or_cut(n_tokens: int, bos: int | None, ids: list[int]) -> None:
    assert prompt_tokens([7, 8, 9], n_tokens, bos=bos, n_vocab=100, seed=0) == ids


@given(
    text=st.lists(st.integers(0, 99), max_size=20),
    n_tokens=st.integers(0, 200),
    bos=st.none() | st.integers(0, 99),
    seed=st.integers(0, 2**32),
)
def test_a_prompt_has_exactly_as_many_ids_as_asked(text: list[int], n_tokens: int, bos: int | None, seed: int) -> None:
    ids = prompt_tokens(text, n_tokens, bos=bos, n_vocab=100, seed=seed)
    assert len(ids) == n_tokens
    assert all(0 <= each < 100 for each in ids)
    if n_tokens and bos is not None:
        assert ids[0] == bos


def test_random_ids_depend_on_nothing_but_the_arguments() -> None:
    ids = random_tokens(1000, n_vocab=50, seed=3)
    assert ids == random_tokens(1000, n_vocab=50, seed=3)
    assert ids != random_tokens(1000, n_vocab=50, seed=4)
    assert set(ids) == set(range(50))
    assert prompt_tokens([], 6, bos=1, n_vocab=50, seed=3) == [1, *ids[:5]]


def test_random_ids_are_the_same_on_every_machine_and_python() -> None:
    # Of the words of the Mersenne twister keyed with 0 the upper 15 bits, where they are under 32,000; worked out with
    # numpy's: RandomState([0]).randint(0, 2**32, 10, dtype=uint32) >> 17.
    assert random_tokens(5, n_vocab=32_000, seed=0) == [27670, 12623, 24836, 29171, 13781]
