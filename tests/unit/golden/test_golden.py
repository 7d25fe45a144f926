"""The texts that people read, each against its golden file. What matters in them is asserted where they are made."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from plots.report.content import gather
from plots.report.markdown import to_markdown
from profiler.cli import COMMANDS, root
from profiler.doctor.text import render
from profiler.results.file import Results
from tests.support.cells import artifact
from tests.support.compared import rounds_of
from tests.support.golden import GOLDEN, check_golden
from tests.support.paths import ROOT
from tests.support.rounds import write_lines
from tests.support.seen import QUIET, diagnosis, seen
from tests.support.studies import MODELS, files, study
from tests.support.summaries import ENVIRONMENT

HELPS = ("slmprof", *COMMANDS, "study survey")
TEN = [100.0 + place for place in range(10)]


def printed(*words: object) -> str:
    """Return what a command prints on both streams, and its status."""
    done = CliRunner().invoke(root, [str(word) for word in words], prog_name="slmprof", terminal_width=80)
    errors = f"--- stderr\n{done.stderr}" if done.stderr else ""
    return f"{done.stdout}{errors}--- status {done.exit_code}\n"


def small_study() -> Results:
    """Return one model at three levels and two thread counts, six rounds each."""
    return study(files(MODELS[:1], ("F16", "Q8_0", "Q4_0")), threads=(1, 2))


def written(folder: Path) -> Path:
    """Write the small study as a results file."""
    found = small_study()
    records = (*found.environments.values(), *found.artifacts.values(), *found.rounds)
    return write_lines(folder / "results.jsonl", *records)


def compared(folder: Path) -> str:
    """Compare results with the same ones ten percent slower."""
    base, new = (
        write_lines(folder / name, ENVIRONMENT, artifact(), *rounds_of([value * factor for value in TEN]))
        for name, factor in (("base.jsonl", 1.0), ("new.jsonl", 0.9))
    )
    return printed("compare", base, new)


def reported(found: Results) -> str:
    """Return the report as Markdown."""
    return to_markdown(gather(found, draw=False), found.environments)


def diagnosed(**changes: object) -> str:
    """Return doctor's text of a recorded device, with some of what is seen on it changed."""
    return render(diagnosis(seen(**changes) if changes else QUIET))


TEXTS: dict[str, Callable[[Path], str]] = {
    "show.txt": lambda folder: printed("show", written(folder)),
    "show-memory.txt": lambda folder: printed("show", written(folder), "--memory"),
    "recommend.txt": lambda folder: printed("recommend", written(folder), "--max-memory", "256MiB"),
    "recommend-nothing.txt": lambda folder: printed("recommend", written(folder), "--max-memory", "64MiB"),
    "compare.txt": compared,
    "report.md": lambda folder: reported(small_study()),
    "doctor-quiet.txt": lambda folder: diagnosed(),
    "doctor-findings.txt": lambda folder: diagnosed(
        governor="ondemand", throttle=("under-voltage",), huge_pages="never"
    ),
}


def check(name: str, text: str, folder: Path) -> None:
    check_golden(name, text.replace(str(folder), "DIR"))


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_its_golden_file(name: str, tmp_path: Path) -> None:
    check(name, TEXTS[name](tmp_path), tmp_path)


# click keeps the options of help from a command's first context, which another test may have made without the root.
EVERY_HELP = """
import json, sys
from click.testing import CliRunner
from profiler.cli import root
calls = [[], *(name.split() for name in sys.argv[1:])]
print(json.dumps([CliRunner().invoke(root, [*call, "--help"], prog_name="slmprof", terminal_width=80).stdout
                  for call in calls]))
"""


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_HELP, *HELPS[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return dict(zip(HELPS, json.loads(done.stdout), strict=True))


def help_file(name: str) -> str:
    return f"help/{name.replace(' ', '-')}.txt"


@pytest.mark.parametrize("name", HELPS)
def test_a_help_is_its_golden_file(name: str, helps: dict[str, str]) -> None:
    check_golden(help_file(name), helps[name])


def test_no_golden_file_is_left_over() -> None:
    found = {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()}
    assert found - {*TEXTS, *map(help_file, HELPS)} == set()
