"""Untrusted texts of results files on their way to a terminal."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from profiler.cli import root
from quant.base.progress import say, watch
from tests.support.cells import artifact
from tests.support.rounds import a_round, write_lines
from tests.support.summaries import ENVIRONMENT


def test_a_results_file_controls_no_terminal_by_what_is_warned_of(tmp_path: Path) -> None:
    """The id of an environment that no line describes is any text."""
    hidden = "\x1b]0;title\x07\x9b2J\u202e"
    path = write_lines(tmp_path / "results.jsonl", artifact(), a_round(env_id=f"x{hidden}"))
    for arguments in (["show"], ["export", "--format", "csv"]):
        done = CliRunner().invoke(root, [*arguments, str(path)])
        assert done.exit_code == 0
        assert "x" in done.stderr
        assert all(line.isprintable() for line in done.stderr.splitlines())


def test_json_on_a_terminal_controls_nothing_and_is_the_same_json(tmp_path: Path) -> None:
    model = "tiny\x7f\x9b31m\u202e\u2028\U000e0041 \u00e9\u7121\U0001f600\n"
    path = str(write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(model=model), a_round()))
    for arguments in (["export", "--format", "json", path], ["recommend", "--json", path]):
        text = CliRunner().invoke(root, arguments).stdout
        assert all(line.isprintable() for line in text.split("\n"))
        assert "\u00e9\u7121\U0001f600" in text
        assert model in _texts(json.loads(text))


def _texts(tree: Any) -> set[str]:
    if isinstance(tree, dict):
        return set().union(*map(_texts, tree.values()))
    return set().union(*map(_texts, tree)) if isinstance(tree, list) else {tree} if isinstance(tree, str) else set()


def test_what_is_said_controls_no_terminal() -> None:
    lines: list[str] = []
    with watch(say=lines.append):
        say("tiny\x1b[2J of \u202efile\n")
    (line,) = lines
    assert line.isprintable()
    assert line.startswith("tiny")
