"""What README.md and docs/how-it-measures.md tell is what the code does: commands, targets, workloads, defaults."""

import re
from pathlib import Path

import pytest

from profiler.analysis.flags import FLAGS
from profiler.cli.results import FORMATS
from profiler.measure.workloads import WORKLOADS
from profiler.sweep.grid import default_threads
from profiler.sweep.plan import Options
from quant.sources.prepare import DEFAULT_LEVELS
from tests.support.commandline import ROOT, measure_request, parse_example

README = (ROOT / "README.md").read_text(encoding="utf-8")
METHOD = (ROOT / "docs" / "how-it-measures.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("slmprof ")]
PROSE = " ".join(README.split())
METHOD_PROSE = " ".join(METHOD.split())
TARGETS = set(re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.MULTILINE))


def test_every_block_is_a_shell_s() -> None:
    assert README.count("```") == 2 * len(BLOCKS)
    starts = {line.split()[0] for line in LINES if line}
    assert starts == {"make", "pipx", "slmprof"}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_can_be_typed(line: str) -> None:
    parse_example(line)


def test_every_target_exists() -> None:
    named = set(re.findall(r"(?:^|`)make ([\w-]+)", README, re.MULTILINE))
    assert {"quickstart", "test"} <= named
    assert named - TARGETS == set()


def test_the_makefile_explains_its_targets_and_no_other() -> None:
    explained = set(re.findall(r'@echo "make ([\w-]+) ', MAKEFILE))
    assert explained == TARGETS - {"help"}
    phony = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert set(" ".join(phony).split()) == TARGETS


def test_what_quickstart_runs_can_be_typed() -> None:
    recipe = re.search(r"^quickstart:.*\n\t\$\(BIN\)/(slmprof .*)$", MAKEFILE, re.MULTILINE)
    assert recipe is not None
    asked = parse_example(recipe[1].replace("$(QUICKSTART)", "quickstart")).params
    assert (asked["sources"], asked["weights"]) == (("smollm2-135m",), "synthetic")
    # The chart of speed against file size and that of threads want more than one of each.
    assert len(asked["levels"].split(",")) == 3
    assert "three levels" in MAKEFILE


def test_the_table_of_workloads() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\d+) / (\d+) \| (as needed|\d+) \|$", METHOD, re.MULTILINE)
    assert [(name, mode, int(n_in), int(n_out), None if room == "as needed" else int(room))
            for name, mode, n_in, n_out, room in rows] == [
        (each.name, each.mode, each.n_prompt, each.n_gen, each.n_ctx) for each in WORKLOADS.values()
    ]  # fmt: skip
    sentence = re.search(r"((?:`\w+`, )+`\w+` and `\w+`) are requests", METHOD_PROSE)
    assert sentence is not None
    requests = [each.name for each in WORKLOADS.values() if each.mode == "request"]
    assert re.findall(r"`(\w+)`", sentence[1]) == requests


def test_the_flags() -> None:
    flags = re.search(r"\*\*Flags\*\* \(`([^`]+)`\)", METHOD_PROSE)
    assert flags is not None
    assert tuple(flags[1].split(", ")) == FLAGS


def test_the_default_levels() -> None:
    told = re.search(r"Without `-q` it takes (.+?), without `-t`", PROSE)
    assert told is not None
    assert ",".join(re.split(r", | and ", re.sub(r" \(.*?\)\)", "", told[1]))) == DEFAULT_LEVELS


def test_the_default_levels_and_why() -> None:
    page = (ROOT / "docs" / "choosing-a-level.md").read_text(encoding="utf-8")
    told = re.search(r"chooses among them: ([\w, ]+)\.", " ".join(page.split()))
    assert told is not None
    assert told[1].replace(" ", "") == DEFAULT_LEVELS
    tried = re.findall(r"^\| (\w+) \|.*\*\*tried\*\*", page, re.MULTILINE)
    assert sorted(tried) == sorted(DEFAULT_LEVELS.split(","))


@pytest.mark.parametrize("command", ["profile", "run", "estimate", "quality"])
def test_the_default_levels_in_a_help(command: str) -> None:
    help_text = (ROOT / "tests" / "data" / "golden" / "help" / f"{command}.txt").read_text(encoding="utf-8")
    assert f"[default: {DEFAULT_LEVELS}; a .gguf file as it is]" in " ".join(help_text.split())


def test_the_default_threads() -> None:
    assert "without `-t` the thread counts 1, 2, 4, … up to the physical cores" in PROSE
    assert default_threads(4) == (1, 2, 4)
    assert default_threads(6) == (1, 2, 4, 6)


def test_the_default_rounds() -> None:
    assert "six rounds by default" in METHOD_PROSE
    assert Options().rounds == 6
    assert measure_request(parse_example("slmprof profile smollm2-135m -o y")).options.rounds == 6


def test_the_forms_of_export_and_plot() -> None:
    (export,) = (line for line in COMMANDS if line.startswith("slmprof export"))
    assert export.partition("# ")[2] == ", ".join(FORMATS)
    (plot,) = (line for line in COMMANDS if line.startswith("slmprof plot") and "--format" in line)
    formats, styles = re.split(r"; --style ", plot.partition("# ")[2])
    for name, told in (("formats", formats), ("style", styles)):
        (option,) = (each for each in parse_example(plot).command.params if each.name == name)
        assert list(option.type.to_info_dict()["choices"]) == told.split(", ")


def test_the_versions_of_python() -> None:
    allowed = re.search(
        r'^requires-python = ">=(3\.\d+),<3\.(\d+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    assert allowed is not None
    assert f"Python {allowed[1]} to 3.{int(allowed[2]) - 1}," in PROSE


def test_what_it_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_what_a_page_links_to_exists(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
