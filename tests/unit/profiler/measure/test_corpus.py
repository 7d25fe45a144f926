"""The text that ships: enough for some windows, letters of its own, nothing said twice, its hash as others take it."""

import hashlib

from profiler.measure.workloads import read_corpus, read_text, text_sha256
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


def test_its_hash_is_that_of_the_file() -> None:
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == text_sha256(read_corpus())


def test_a_text_s_hash_is_that_of_its_utf_8() -> None:
    # printf 'caf\xc3\xa9' | sha256sum
    assert text_sha256("caf\u00e9") == "850f7dc43910ff890f8879c0ed26fe697c93a067ad93a7d50f466a7028a9bf4e"
