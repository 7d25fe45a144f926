"""report.html in a real browser: sorting, filtering, pages, the keyboard, light and dark; no request, no complaint."""

import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.cells import artifact
from tests.support.chromium import Chromium, find_chromium
from tests.support.commandline import slmprof
from tests.support.rounds import a_round, no_round, sample, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(
    PROGRAM is None or os.name != "posix",
    reason="no Chromium is installed (Debian: apt-get install chromium), so report.html is not tried in a browser",
)

HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\u202e\x1b[31m"
LEVELS = ("Q8_0", "Q4_0", "Q4_K_M", "F16")
N_CELLS = len(LEVELS) * 16  # more than a page of the table

# What a reader sees of the table: a column's texts, top down.
COLUMN = """(label) => {
  const place = [...document.querySelectorAll('#table th')].findIndex((head) => head.textContent === label);
  return [...document.querySelectorAll('#table tbody tr')].map((row) => row.cells[place].textContent);
}"""
HEAD = "(label) => [...document.querySelectorAll('#table th')].find((head) => head.textContent === label)"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of 64 cells: speeds differ, one cell failed, one model has a hostile name."""
    folder = tmp_path_factory.mktemp("report")
    records: list[Any] = [ENVIRONMENT]
    for place, level in enumerate(LEVELS):
        sha256 = f"{place}" * 64
        records.append(artifact(sha256, level=level, model=HOSTILE if level == "F16" else "tiny", n_params=1 + place))
        for n in range(1, 17):
            record = a_round(0, sample(60 / n, [25 + place + n] * 4))
            record = no_round(0, message="out of memory") if (level, n) == ("Q4_0", 3) else record
            records.append(with_cell(record, sha256, n_threads=n, n_threads_batch=n))
    results = write_lines(folder / "results.jsonl", *records)
    done = slmprof("report", results, "-o", folder / "report.html", cache=folder)
    assert done.status == 0, done.err
    return folder / "report.html"


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(started: Chromium, page: Path) -> Iterator[Chromium]:
    """The page freshly opened; whatever a test does, the page asks for nothing but itself and complains of nothing."""
    started.look()
    started.open(page)
    yield started
    assert started.requests == [page.resolve().as_uri()]
    assert started.complaints == []
    assert started.evaluate("window.hacked") is None


def column(browser: Chromium, label: str) -> list[str]:
    found = browser.evaluate(f"({COLUMN})({label!r})")
    assert isinstance(found, list)
    return found


def count(browser: Chromium) -> str:
    """The line above the table, after the pause that a typist is given."""
    text = browser.evaluate(
        "new Promise((done) => setTimeout(() => done(document.getElementById('count').textContent), 200))"
    )
    assert isinstance(text, str)
    return text


def test_sorting_by_a_press_on_a_head(browser: Chromium) -> None:
    def press(label: str) -> str:
        browser.evaluate(f"({HEAD})({label!r}).querySelector('button').click()")
        return str(browser.evaluate(f"({HEAD})({label!r}).getAttribute('aria-sort')"))

    def speeds() -> list[float]:
        return [float(text.split(" ")[0]) for text in column(browser, "decode t/s")]

    assert press("decode t/s") == "descending"
    # The fastest step takes 26 ms: 38.5 tokens per second; the slowest 44 ms is on the second page.
    assert (len(speeds()), speeds()[0], speeds()) == (50, 38.5, sorted(speeds(), reverse=True))
    assert press("decode t/s") == "ascending"
    assert (speeds()[0], speeds()) == (22.7, sorted(speeds()))
    assert press("decode t/s") == "none"
    assert press("level") == "ascending"
    assert column(browser, "level")[:33] == ["F16"] * 16 + ["Q4_0"] * 16 + ["Q4_K_M"]
    assert browser.evaluate(f"({HEAD})('decode t/s').getAttribute('aria-sort')") == "none"


def test_filtering_by_words_and_by_what_was_disturbed(browser: Chromium) -> None:
    assert count(browser) == "64 of 64 cells"
    browser.evaluate("document.getElementById('words').focus()")
    browser.type("q4_K tiny")
    assert count(browser) == "16 of 64 cells"
    assert set(column(browser, "level")) == {"Q4_K_M"}
    browser.press("Escape")
    assert count(browser) == "64 of 64 cells"
    browser.type("out of memory")
    assert count(browser) == "1 of 64 cells"
    assert column(browser, "notes") == ["FAILED: out of memory"]
    browser.evaluate("document.getElementById('undisturbed').click()")
    assert count(browser) == "0 of 64 cells: clear the filter to see them"
    browser.evaluate("document.getElementById('reset').click()")
    assert count(browser) == "64 of 64 cells"


def test_pages(browser: Chromium) -> None:
    def state() -> tuple[str, int]:
        where = browser.evaluate("document.getElementById('where').textContent")
        return str(where), len(column(browser, "level"))

    assert state() == ("page 1 of 2", 50)
    browser.evaluate("document.getElementById('next').click()")
    assert state() == ("page 2 of 2", 14)
    assert browser.evaluate("document.getElementById('next').disabled") is True
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert len(column(browser, "level")) == N_CELLS  # paper has all
    browser.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert state() == ("page 2 of 2", 14)


def test_the_keyboard_alone_is_enough(browser: Chromium) -> None:
    def focused() -> str:
        element = "document.activeElement"
        return str(browser.evaluate(f"{element}.id || {element}.textContent.trim()"))

    browser.press("Tab")
    assert focused() == "Skip to the table of cells"
    seen = [focused()]
    for _ in range(40):
        browser.press("Tab")
        seen.append(focused())
        if seen[-1] == "level":
            break
    assert {"words", "undisturbed", "reset", "model", "level"} <= set(seen)
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    browser.press("Enter")
    assert column(browser, "level")[0] == "F16"
    browser.press("Space")
    assert column(browser, "level")[0] == "Q8_0"
    assert focused() == "level"


def test_hostile_text_shows_as_text(browser: Chromium) -> None:
    shown = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>\\u202e\\x1b[31m"
    browser.evaluate("document.getElementById('words').value = 'f16'")
    browser.evaluate("document.getElementById('words').dispatchEvent(new Event('input'))")
    assert count(browser) == "16 of 64 cells"
    assert set(column(browser, "model")) == {shown}
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.evaluate("document.scripts.length") == 2


def test_it_fits_a_phone_and_the_dark(browser: Chromium, page: Path) -> None:
    def brightest_letters() -> float:
        fills = browser.evaluate(
            "[...document.querySelectorAll('.chart svg text')].map((text) => getComputedStyle(text).fill)"
        )
        assert isinstance(fills, list)
        return max(sum(map(int, re.findall(r"\d+", fill)[:3])) / 3 for fill in set(map(str, fills)))

    assert brightest_letters() < 130  # dark letters on white
    browser.look(width=390, dark=True)
    assert browser.evaluate("document.documentElement.scrollWidth") == 390
    assert brightest_letters() < 130  # charts stay on white: the darkest levels would not be seen on a dark ground
    chart = browser.evaluate("getComputedStyle(document.querySelector('.chart svg')).backgroundColor")
    assert chart == "rgb(255, 255, 255)"
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(21, 23, 26)"
    browser.look()


def test_names_and_structure_for_who_cannot_see(browser: Chromium) -> None:
    levels = browser.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((head) => Number(head.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = browser.evaluate(
        "[...document.querySelectorAll('svg, [role=region], nav, form')]"
        ".filter((part) => !part.getAttribute('aria-label') && !part.getAttribute('aria-labelledby')).length"
    )
    assert unnamed == 0
    assert browser.evaluate("[...document.querySelectorAll('th')].every((head) => head.scope)") is True
