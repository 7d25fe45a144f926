"""The command line: help texts, mistyped commands, and how it ends without a reader or on Ctrl-C."""

import inspect
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import profiler.__main__
from profiler import __version__
from profiler.cli import COMMANDS, root
from tests.support.commandline import ROOT, Done, environment, measure_request, parse_example
from tests.support.rounds import write_lines

Call = Callable[..., Done]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the program in this process, as its script does."""

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["slmprof", *arguments])
        with pytest.raises(SystemExit) as ended:
            profiler.__main__.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, out, err)

    return run


def command_of(name: str) -> click.Command:
    command = root.get_command(click.Context(root), name)
    assert command is not None
    return command


def help_of(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "")


def examples_of(command: click.Command) -> list[str]:
    return [line for line in help_of(command).splitlines() if re.match(r"slmprof [a-z]+ ", f"{line} ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_it_does_and_shows_how(name: str) -> None:
    command = command_of(name)
    assert command.name == name
    first = help_of(command).splitlines()[0]
    verb = first.split()[0]
    assert verb[0].isupper()
    # An order, as to a person: "Print the table", neither "Prints" nor "The table" nor "This prints".
    assert not verb.endswith("s")
    assert verb not in ("The", "A", "An", "It", "To")
    examples = examples_of(command)
    assert examples
    # What comes after may be shown as well.
    assert examples[0].split()[1] == name


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_line_in_the_list_is_an_order_too(name: str) -> None:
    line = COMMANDS[name][1]
    assert re.fullmatch(r"[A-Z][a-z]*[a-rt-z],? [^\n]{1,60}\.", line)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name: str) -> None:
    options = [each for each in command_of(name).params if isinstance(each, click.Option)]
    assert [each.name for each in options if len((each.help or "").split()) < 2] == []


EXAMPLES = [line for name in COMMANDS for line in examples_of(command_of(name))] + examples_of(root)


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_can_be_typed(line: str) -> None:
    context = parse_example(line)
    if context.command.name in ("profile", "run"):
        measure_request(context)


@pytest.mark.parametrize(
    ("text", "threads"), [("auto", (0,)), ("auto,4", (0, 4)), ("1-2, AUTO", (0, 1, 2)), ("4,2", (4, 2))]
)
def test_auto_stands_beside_numbers(text: str, threads: tuple[int, ...]) -> None:
    context = parse_example(f"slmprof profile m.gguf -t '{text}' -o r.jsonl")
    assert measure_request(context).axes.threads == threads


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_stands_in_the_readme(name: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.search(rf"^slmprof {name}\b", readme, re.MULTILINE)


def test_the_defaults_in_the_help_are_the_defaults() -> None:
    from profiler.measure.workloads import WORKLOADS
    from profiler.sweep.grid import Axes
    from quant.sources.prepare import DEFAULT_LEVELS

    shown = {each.name: each.help or "" for each in command_of("profile").params if isinstance(each, click.Option)}
    axes = Axes(threads=(1,))
    bench = WORKLOADS["bench"]
    assert shown["levels"].endswith(f"[default: {DEFAULT_LEVELS}; a .gguf file as it is]")
    assert shown["prompt"].endswith(f"[default with -n or -d: {bench.n_prompt}]")
    assert shown["gen"].endswith(f"[default with -p or -d: {bench.n_gen}]")
    assert f"(pp{bench.n_prompt} and tg{bench.n_gen} apart)" in shown["workload"]
    assert all(workload in shown["workload"] for workload in WORKLOADS)
    assert shown["batch"].endswith(f"[default: {axes.batch[0]}]")
    assert shown["ubatch"].endswith(f"[default: {axes.ubatch[0]}]")


def test_the_choices_in_the_help_are_the_choices() -> None:
    from profiler.records.config import CACHE_TYPES, LOAD_MODES

    shown = {each.name: each.help or "" for each in command_of("profile").params if isinstance(each, click.Option)}
    assert re.findall(r"\b(?:bf16|f\d\d|i?q\d_\w+)\b", shown["ctk"]) == list(CACHE_TYPES)
    assert all(mode in shown["load_mode"] for mode in LOAD_MODES)


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_no_arguments_are_a_call_for_help(call: Call, words: tuple[str, ...]) -> None:
    done = call(*words)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Usage: slmprof [OPTIONS] COMMAND")
    assert all(re.search(rf"^  {name} ", done.out, re.MULTILINE) for name in COMMANDS)


def test_the_version(call: Call) -> None:
    assert call("--version") == Done(0, f"slmprof, version {__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        (("porfile",), ["there is no command 'porfile'; did you mean 'profile'?"]),
        (("zzz",), ["there is no command 'zzz'; see slmprof --help"]),
        (("",), ["there is no command ''; see slmprof --help"]),
        (("convert", "a.gguf", "-o", "x.gguf", "-q", "F16,Q8_0"), ["2 levels do not fit into one file"]),
        # Here the middle is click's, and differs a little from version to version.
        (("--nonsense",), ["slmprof: No such option", "--nonsense", "; see slmprof --help\n"]),
        (("show", "r", "--nonsense"), ["slmprof: No such option", "--nonsense", "; see slmprof show --help\n"]),
        (("profile", "m", "-o", "r", "--thread", "1"), ["slmprof: No such option", "--threads"]),
        (("show",), ["slmprof: Missing argument", "RESULTS...", "; see slmprof show --help\n"]),
        (("export", "r"), ["--format", "json, csv, md, llama-bench, llama-bench-jsonl; see slmprof export --help\n"]),
        (("profile", "m", "-o", "r", "-r", "0"), ["--reps", "1<=x<=1000", "; see slmprof profile --help\n"]),
    ],
)
def test_a_mistyped_command_is_one_line(
    call: Call, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], facts: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.gguf").touch()
    done = call(*words)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "\t" not in done.err
    assert [part for part in facts if part not in done.err] == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    from tests.support.cells import artifact
    from tests.support.rounds import a_round
    from tests.support.summaries import ENVIRONMENT

    records = [a_round(index, env_id=ENVIRONMENT.id) for index in range(6)]
    return write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), *records)


@pytest.mark.parametrize("words", [["--help"], ["models"], ["models", "--json"], ["show", "results.jsonl"]])
def test_a_reader_that_has_gone_is_no_failure(results: Path, words: list[str]) -> None:
    """As in `slmprof show results.jsonl | head -1`, with a head that is done before the table begins."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "profiler", *words],
            cwd=results.parent,
            env=environment(results.parent),
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


# A shell's background jobs, and what they start, ignore Ctrl-C; here it must not.
CTRL_C_COUNTS = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from profiler.__main__ import main
main()
"""


def test_ctrl_c_ends_it_with_one_word(tmp_path: Path) -> None:
    fifo = tmp_path / "results.jsonl"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [sys.executable, "-c", CTRL_C_COUNTS, "show", str(fifo)],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # Opening returns when the other side has opened too: from then on it waits for a first line.
    with fifo.open("wb"):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err.strip() == "slmprof: stopped"


BARS = """
from profiler.cli.progress.bar import progress_bar
from quant.base.progress import progress
with progress_bar():
    progress("converting", 1, 2)
"""


def stderr_on_a_terminal(**variables: str) -> str:
    parent, child = pty.openpty()
    plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLORTERM")}
    settings = {**plain, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **variables}
    process = subprocess.Popen([sys.executable, "-c", BARS], env=settings, stdout=subprocess.DEVNULL, stderr=child)
    os.close(child)
    seen = b""
    try:
        while chunk := os.read(parent, 4096):
            seen += chunk
    except OSError:  # Linux raises where others return an empty read: nobody has the terminal open any more
        pass
    finally:
        os.close(parent)
    assert process.wait(timeout=60) == 0
    return seen.decode()


COLOUR = re.compile(r"\x1b\[[\d;]*(?:3[0-8]|4[0-8]|9\d|10[0-7])[\d;]*m")


def test_a_terminal_gets_a_bar_whose_colours_can_be_refused() -> None:
    coloured = stderr_on_a_terminal()
    assert "converting" in coloured
    assert COLOUR.search(coloured)
    plain = stderr_on_a_terminal(NO_COLOR="1")
    assert "converting" in plain
    assert not COLOUR.search(plain)


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1", "TERM": "xterm-256color"}])
def test_a_log_gets_no_bar_and_no_escapes(variables: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BARS],
        env=environment(tmp_path) | variables,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def run_beside(other: Path, folder: Path) -> Done:
    """Call it where another folder comes first on Python's path, as an environment shared with others can have it."""
    done = subprocess.run(
        [sys.executable, "-m", "profiler", "--version"],
        cwd=folder,
        env=environment(folder) | {"PYTHONPATH": f"{other}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Done(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("name", ["quant", "plots"])
def test_another_distribution_s_package_is_named(tmp_path: Path, name: str) -> None:
    other, empty = tmp_path / "other", tmp_path / "empty"
    (other / name).mkdir(parents=True)
    (other / name / "__init__.py").write_text("raise SystemExit('this must not run')\n")
    empty.mkdir()
    end = "not from slmprof; install slmprof with pipx or in a venv of its own\n"
    assert run_beside(other, empty) == Done(2, "", f"slmprof: the package '{name}' comes from {other}, {end}")

    facts = other / "other_tools-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: other-tools\nVersion: 1.0\n")
    (facts / "top_level.txt").write_text(f"{name}\n")
    named = f"slmprof: the package '{name}' comes from the distribution 'other-tools', {end}"
    assert run_beside(other, empty) == Done(2, "", named)


def test_a_folder_of_charts_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "speed.png").touch()
    assert run_beside(tmp_path, tmp_path) == Done(0, f"slmprof, version {__version__}\n", "")
