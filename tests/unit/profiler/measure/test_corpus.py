"""The text that ships: length, non-ASCII characters, no repetition, its hash; a user's text; windows of tokens."""

from pathlib import Path

import pytest

from profiler.measure import corpus
from profiler.measure.corpus import Text, default_text, windows_of
from profiler.measure.workloads import read_corpus, read_text
from quant.base.errors import UserError
from tests.support.paths import ROOT

FILE = ROOT / "profiler" / "measure" / "workloads" / "corpus.txt"


def test_it_is_some_thirty_kib_of_mostly_ascii() -> None:
    text = read_corpus()
    assert 28_000 < len(text.encode()) < 34_000
    foreign = [letter for letter in text if not letter.isascii()]
    assert 20 < len(foreign) < len(text) // 200
    assert "\r" not in text  # the same tokens whatever system it was checked out on
    assert "<|" not in text  # nothing that a tokenizer could take for a special token


def test_no_paragraph_is_there_twice_or_in_a_workload() -> None:
    paragraphs = [each for each in read_corpus().split("\n\n") if len(each) > 40]
    assert len(paragraphs) > 80
    assert len(set(paragraphs)) == len(paragraphs)
    others = "\n\n".join(read_text(name) or "" for name in ("survey", "chat", "rag", "summarize")).split("\n\n")
    assert not set(paragraphs) & set(others)


def test_a_text_s_hash_is_that_of_its_utf_8() -> None:
    # printf 'caf\xc3\xa9' | sha256sum
    assert (
        Text(name="a", content="caf\u00e9".encode()).sha256
        == "850f7dc43910ff890f8879c0ed26fe697c93a067ad93a7d50f466a7028a9bf4e"
    )


def test_it_is_long_enough_to_score() -> None:
    found = default_text()
    assert len(found.content) > 10_000
    assert found.content == FILE.read_bytes().removesuffix(b"\n")
    found.content.decode()


def test_a_user_s_text_must_be_utf_8(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_bytes("Grüße\n".encode())
    assert corpus.read_text(tmp_path / "good.txt").name == "good.txt"
    assert corpus.read_text(tmp_path / "good.txt").content.decode() == "Grüße"
    (tmp_path / "bad.txt").write_bytes(b"abc\xff")
    with pytest.raises(UserError, match=r"bad\.txt is not UTF-8 \(byte 3\)"):
        corpus.read_text(tmp_path / "bad.txt")
    with pytest.raises(UserError, match=r"cannot read --text .*none\.txt"):
        corpus.read_text(tmp_path / "none.txt")


def test_tokens_are_cut_into_whole_windows() -> None:
    assert windows_of(range(10, 20), None, 4, None) == [[10, 11, 12, 13], [14, 15, 16, 17]]
    assert windows_of(range(10, 20), None, 4, 1) == [[10, 11, 12, 13]]
    assert windows_of(range(10, 20), None, 4, 5) == [[10, 11, 12, 13], [14, 15, 16, 17]]
    assert windows_of(range(3), None, 4, None) == []


def test_bos_comes_before_the_text_and_replaces_a_window_s_first_token() -> None:
    assert windows_of(range(10, 20), 7, 4, 5) == [[7, 10, 11, 12], [7, 14, 15, 16]]
    assert windows_of(range(3), 7, 4, None) == [[7, 0, 1, 2]]
