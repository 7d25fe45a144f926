"""`slmprof recommend` as it is typed: its text, its JSON, its status, and the command that measures a choice again."""

import json
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from profiler.cli.options.limits import parse_weights
from profiler.cli.recommend import recommend as command
from profiler.recommend.choose import recommend
from profiler.recommend.records import Criteria, Limits, Prefer
from profiler.recommend.rerun import command_of
from profiler.recommend.text import render
from profiler.records.cell_summary import CellSummary
from profiler.sweep.grid import Axes, expand
from quant.base.errors import UserError
from tests.support.cells import artifact
from tests.support.commandline import parse_example
from tests.support.rounds import a_round, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT, request, summary

SMALL, LARGE = "a" * 64, "b" * 64


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two files of one model: decode at 40 tokens per second, 200 MiB; the larger has more bits."""
    records = [with_cell(a_round(index), sha256) for sha256 in (SMALL, LARGE) for index in range(6)]
    small = artifact(SMALL, level="Q4_0", tensor_bytes=500_000, source="smollm2-135m")
    return write_lines(tmp_path / "results.jsonl", ENVIRONMENT, small, artifact(LARGE), *records)


def call(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.return_value, done.stdout


def test_the_choice_its_reason_and_how_to_measure_it_again(results: Path) -> None:
    status, text = call(results, "--max-memory", "1GiB", "--min-decode", "8")
    assert status == 0
    assert text.startswith("limits: --max-memory 1GiB, --min-decode 8; order: quality, then speed, then memory\n")
    assert "**Q8_0 with 1 thread**: it has the most bits per weight (8.51" in text
    assert "Q4_0 with 1 thread also fits: a tie in decode, the same memory, 4.2" in text
    run, again, files = (line for line in text.splitlines()[-5:] if line)
    assert run.startswith("run it: llama-server --model tiny-Q8_0.gguf --threads 1 --threads-batch 1 --ctx-size 64 ")
    assert again == "re-measure it: slmprof profile tiny-Q8_0.gguf -t 1 -p 6 -n 4 --n-ctx 64 -o again.jsonl"
    assert files.endswith("-o DIR, which writes DIR/deploy/")
    assert str(results.parent) not in text


def test_the_files_that_run_the_choice(results: Path) -> None:
    model = results.parent / "models" / "tiny-Q8_0.gguf"
    model.parent.mkdir()
    model.touch()
    status, text = call(results, "--n-ctx", "4096", "-o", results.parent / "out")
    folder = results.parent / "out" / "deploy"
    assert status == 0
    assert text.endswith(f": {folder}\n")
    assert {path.name for path in folder.iterdir()} == {
        "llama-server.sh", "llama-cli.sh", "Modelfile", "models.ini", "run.py",
    }  # fmt: skip
    assert "FROM ../../models/tiny-Q8_0.gguf\nPARAMETER num_ctx 4096\n" in (folder / "Modelfile").read_text()


def test_several_choices_have_a_folder_each(tmp_path: Path) -> None:
    records = [with_cell(a_round(0), SMALL, workload=name) for name in ("chat", "../rag")]
    results = write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(SMALL, model="a b"), *records)
    status, _ = call(results, "--flagged", "-o", tmp_path / "out")
    assert status == 0
    assert sorted(path.name for path in (tmp_path / "out" / "deploy").iterdir()) == ["a-b-..-rag", "a-b-chat"]


def test_nothing_that_fits_is_status_1(results: Path) -> None:
    status, text = call(results, "--max-memory", "100MiB")
    assert status == 1
    assert "No choice: no cell meets all limits.\nRelax --max-memory from 100MiB to 200MiB: Q8_0 with 1 thread" in text
    assert "re-measure it" not in text


def test_the_json_has_the_documented_fields(results: Path) -> None:
    status, text = call(results, "--min-decode", "8", "--prefer", "speed=1,quality=1", "--json")
    found = json.loads(text)
    assert status == 0
    assert (found["schema"], found["flagged"], found["prefer"]) == (1, False, {"speed": 1, "memory": 0, "quality": 1})
    assert found["limits"]["min_decode_tps"] == 8
    (choice,) = found["choices"]
    assert choice["chosen"]["quant"] == "Q8_0"
    assert choice["chosen"]["decode_tps"] == {"middle": 40, "lo": 40, "hi": 40}
    assert {"reason", "tied", "runners_up", "near_misses", "left_out", "relax", "command"} <= set(choice)
    assert set(choice["deploy"]) == {"llama_server", "llama_cli", "modelfile", "models_ini", "python"}
    assert json.loads(call(results, "--min-decode", "41", "--json")[1])["choices"][0]["chosen"] is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--max-memory", "much"), "'much' is not a size"),
        (("--max-memory", "0"), "--max-memory 0 is not a limit"),
        (("--min-decode", "-1"), "--min-decode -1 is not a limit"),
        (("--min-decode", "nan"), "--min-decode nan is not a limit"),
        (("--max-ttft", "0s"), "--max-ttft 0 is not a limit"),
        (("--prefer", "speed"), "'speed' in --prefer"),
        (("--workload", "chat"), "no cell has --workload chat; the results hold custom"),
        (("--model", "x"), "no cell has --model x; the results hold tiny"),
        (("--max-kld", "0.1"), "slmprof quality tiny -q Q4_0,Q8_0 -o results.jsonl"),
        (("--max-ttft", "1s"), "--max-ttft needs a request"),
    ],
)
def test_what_is_wrong_is_reported(results: Path, words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        call(results, *words)
    assert expected in str(caught.value)


def test_an_empty_file_is_reported(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "results.jsonl", ENVIRONMENT)
    with pytest.raises(UserError, match=r"^results\.jsonl holds no measured cells yet"):
        call(path)


def test_weights_are_read() -> None:
    assert parse_weights("speed=2, Memory=0.5") == Prefer(speed=2, memory=0.5)


@pytest.mark.parametrize(
    "text", ["", "speed", "speed=x", "pace=1", "speed=-1", "speed=inf", "speed=1,speed=2", "speed=0"]
)
def test_weights_that_cannot_be_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"write it like speed=2,memory=1,quality=1$"):
        parse_weights(text)


def typed(line: str) -> dict[str, Any]:
    context: click.Context = parse_example(line)
    return context.params


FILE = artifact(source="org/name", revision="abc123")


@pytest.mark.parametrize(
    ("cell", "file", "line"),
    [
        (summary(), FILE, "org/name@abc123 -q Q8_0 -t 1 --workload bench --n-ctx 768"),
        (summary(n_ctx=512), FILE, "org/name@abc123 -q Q8_0 -t 1 --workload bench"),
        (request(n_threads=4, n_threads_batch=2), artifact(), "tiny-Q8_0.gguf -t 4 --threads-batch 2 --workload chat"),
        (
            request(weights="synthetic", standin_for="smollm2-135m"),
            FILE,
            "smollm2-135m -q Q8_0 --weights synthetic -t 1 --workload chat",
        ),
        (request(imatrix="c" * 64), FILE, "tiny-Q8_0.gguf -t 1 --workload chat"),
        (request(quant="mixed"), FILE, "tiny-Q8_0.gguf -t 1 --workload chat"),
        (
            summary(
                workload="custom", n_prompt=6, n_gen=4, n_depth=8, n_ctx=14, type_k="q8_0", repack=False, cores=(0,)
            ),
            artifact(),
            "tiny-Q8_0.gguf -t 1 -p 6 -n 4 -d 8 --ctk q8_0 --no-repack --cores 0",
        ),
        (request(), artifact(file_name="my model.gguf"), "'my model.gguf' -t 1 --workload chat"),
    ],
)
def test_the_command_that_measures_a_cell_again(cell: CellSummary, file: Any, line: str) -> None:
    names = {name: getattr(file, name) for name in ("file_name", "source", "revision")}
    made = command_of(msgspec.structs.replace(cell, artifact=msgspec.structs.replace(cell.artifact, **names)))
    assert made == f"slmprof profile {line} -o again.jsonl"
    typed(made)


def test_the_command_s_defaults_are_those_of_the_plan() -> None:
    for workload in ("bench", "chat", "rag"):
        (made,) = expand(Axes(threads=(1,), workload=(workload,)), ["a" * 64])
        config = made.config
        cell = msgspec.structs.replace(summary(), config=config, artifact=FILE)
        assert command_of(cell) == (
            f"slmprof profile org/name@abc123 -q Q8_0 -t 1 --workload {workload} -o again.jsonl"
        )


def test_a_stranger_s_names_are_shown_as_text() -> None:
    evil = summary(model="<b>\x1b[31m|", quant="Q4\x07|", workload="custom", status="ok")
    text = render(recommend([evil], Criteria(limits=Limits())), {})
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\\<b\\>" in text


def test_an_estimate_is_marked() -> None:
    text = render(recommend([summary()], Criteria(limits=Limits(n_ctx=4096))), {})
    assert "~306.7 MiB" in text  # 220 + 20 · 4096 / 768 - 20
    assert "~ measured at another context" in text
    assert text.endswith("slmprof profile tiny.gguf -t 1 --workload bench --n-ctx 4096 -o again.jsonl\n")
    # A context in which the load has no room could not be measured.
    assert "--n-ctx 768 -o" in render(recommend([summary()], Criteria(limits=Limits(n_ctx=256))), {})


def test_a_flagged_choice_is_marked() -> None:
    text = render(recommend([summary(flags=("oversubscribed", "noisy"))]), {})
    assert "\nIt is flagged oversubscribed, noisy: see slmprof show.\n" in text


def test_memory_of_a_gpu_is_reported_as_not_included() -> None:
    note = "GPU memory is not included"
    assert note in render(recommend([summary(device="gpu")]), {})
    assert note not in render(recommend([summary()]), {})
