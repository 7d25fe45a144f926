"""The guides in docs/: each command can be typed, each page says what was tried, nothing points at somebody's disk."""

import re
from pathlib import Path

import pytest

from profiler.analysis.flags import FLAGS
from profiler.recommend.rank import BPW_HALF, KLD_HALF
from tests.support.commandline import ROOT, parse_example

GUIDES = [
    ROOT / "docs" / f"{name}.md"
    for name in ("choosing-a-level", "what-the-numbers-mean", "raspberry-pi", "mac", "jetson")
]
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMANDS = [
    (guide.stem, line)
    for guide in GUIDES
    for block in BLOCK.findall(guide.read_text(encoding="utf-8"))
    for line in block.splitlines()
    if line.startswith("slmprof ")
]


@pytest.mark.parametrize(("guide", "line"), COMMANDS)
def test_a_command_can_be_typed(guide: str, line: str) -> None:
    parse_example(line)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_says_what_was_tried_and_where_facts_come_from(guide: Path) -> None:
    text = guide.read_text(encoding="utf-8")
    assert "## What was tried" in text or " was at hand when this was written." in text
    assert re.search(r"[Ss]ource: |documentation says", text)
    assert text.count("```") == 2 * len(BLOCK.findall(text))
    assert [line for line in text.splitlines() if len(line) > 120 and not line.startswith("|")] == []
    named = re.findall(r"`((?:profiler|tests)/[\w/]+\.?\w*)/?`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []
    linked = re.findall(r"\]\(([\w.-]+)\)", text)
    assert [name for name in linked if not (guide.parent / name).exists()] == []


def test_options_that_are_named_in_the_prose_exist() -> None:
    known = {
        option
        for line in (
            "slmprof profile x -o y",
            "slmprof recommend x",
            "slmprof show x",
            "slmprof doctor",
            "slmprof run x -o y",
            "slmprof quality x -o y",
        )
        for each in parse_example(line).command.params
        for option in each.opts
    }
    for guide in GUIDES:
        prose = BLOCK.sub("", guide.read_text(encoding="utf-8"))
        named = {option for code in re.findall(r"`([^`]+)`", prose) for option in re.findall(r"(?<!\S)--[a-z-]+", code)}
        assert named - known - {"--no-cache-dir", "--force-reinstall"} == set(), guide.stem


def test_all_flags_are_explained() -> None:
    text = (ROOT / "docs" / "what-the-numbers-mean.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == FLAGS


def test_the_conventions_of_recommend_are_those_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "choosing-a-level.md").read_text(encoding="utf-8").split())
    assert f"a half for each {KLD_HALF:g} of KLD" in text
    assert f"a half at {BPW_HALF:g} bits per weight" in text
