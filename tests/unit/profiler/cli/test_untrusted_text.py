"""Untrusted texts of results files on their way to a terminal."""

from pathlib import Path

from click.testing import CliRunner

from profiler.cli import root
from quant.base.progress import say, watch
from tests.support.cells import artifact
from tests.support.rounds import a_round, write_lines


def test_a_results_file_controls_no_terminal_by_what_is_warned_of(tmp_path: Path) -> None:
    """The id of an environment that no line describes is any text."""
    hidden = "\x1b]0;title\x07\x9b2J\u202e"
    path = write_lines(tmp_path / "results.jsonl", artifact(), a_round(env_id=f"x{hidden}"))
    for arguments in (["show"], ["export", "--format", "csv"]):
        done = CliRunner().invoke(root, [*arguments, str(path)])
        assert done.exit_code == 0
        assert "x" in done.stderr
        assert all(line.isprintable() for line in done.stderr.splitlines())


def test_what_is_said_controls_no_terminal() -> None:
    lines: list[str] = []
    with watch(say=lines.append):
        say("tiny\x1b[2J of \u202efile\n")
    (line,) = lines
    assert line.isprintable()
    assert line.startswith("tiny")
