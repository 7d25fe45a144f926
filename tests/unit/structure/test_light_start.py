"""What a call for help costs: none of the heavy libraries is imported for it, on a board where each takes a second."""

import json
import re
import subprocess
import sys

import pytest

from profiler.cli import COMMANDS
from tests.support.paths import ROOT

HEAVY = {"gguf", "huggingface_hub", "llama_cpp", "matplotlib", "numpy"}

# Prints a line per command: its name, its help, and the heavy libraries that are there since.
EVERY_HELP = """
import contextlib, io, json, sys
from profiler.cli import COMMANDS, root
heavy = set(sys.argv[1:])
for name in COMMANDS:
    before, text = heavy & set(sys.modules), io.StringIO()
    try:
        with contextlib.redirect_stdout(text):
            root.main([name, "--help"], prog_name="slmprof", standalone_mode=False)
    except ImportError as error:
        text.write(repr(error))
    print(json.dumps([name, text.getvalue(), sorted(heavy & set(sys.modules) - before)]))
"""


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)


@pytest.fixture(scope="module")
def helps() -> dict[str, tuple[str, list[str]]]:
    done = python("-c", EVERY_HELP, *sorted(HEAVY))
    return {name: (text, heavy) for name, text, heavy in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_help_imports_nothing_heavy(name: str, helps: dict[str, tuple[str, list[str]]]) -> None:
    text, heavy = helps[name]
    assert text.startswith(f"Usage: slmprof {name} ")
    assert heavy == []


def test_the_list_of_commands_imports_nothing_heavy_and_no_command() -> None:
    done = python("-X", "importtime", "-m", "profiler", "--help")
    assert done.stdout.startswith("Usage: slmprof ")
    # import time:       123 |        456 |   package.module
    imported = set(re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE))
    assert "profiler.cli" in imported
    assert {name.partition(".")[0] for name in imported} & {*HEAVY, "plots", "msgspec", "rich"} == set()
    assert imported & {module for module, _ in COMMANDS.values()} == set()
