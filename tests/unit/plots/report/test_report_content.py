"""What a report says: the answer, the table's columns, warnings, and commands that give the cells back."""

import os
import shlex
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from plots.render.sampling import restricted, sampled
from plots.report.answer import answer
from plots.report.cautions import cautions
from plots.report.cells import columns_of
from plots.report.content import gather
from plots.report.facts import environments_of, methods_of
from plots.report.rerun import rerun_commands
from plots.report.setup import setup_of
from plots.report.write import write_reports
from profiler.analysis.summarise import summarise, summarise_and_warn
from profiler.cli import root
from profiler.records.config import RunConfig
from profiler.results.file import Results, read_results
from profiler.sweep.grid import expand
from quant.base.errors import UserError
from tests.support.cells import artifact, config
from tests.support.commandline import assert_one_line, measure_request, parse_example, slmprof
from tests.support.rounds import a_round, no_round, results, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT, MIB, environment, failed, request, summary

SHA = "a" * 64


def rates(middle: float, reach: float = 1.0) -> dict[str, float]:
    return {"decode_tps": middle, "decode_tps_lo": middle - reach, "decode_tps_hi": middle + reach}


# The answer


def test_the_fastest_file_of_each_model_is_first_and_the_others_say_what_they_cost() -> None:
    cells = [
        summary(quant="Q8_0", n_threads=1, **rates(20), model_rss_bytes=300 * MIB),
        summary(quant="Q8_0", n_threads=2, **rates(30), model_rss_bytes=300 * MIB),
        summary(quant="Q4_0", n_threads=2, **rates(40), bpw=4.5, model_rss_bytes=200 * MIB, prefill_tps=250.0),
    ]
    found = answer(cells)
    assert found.headline == "tiny at Q4_0 with 2 threads: 40 tokens/s in 200.0 MiB of memory"
    best, other = found.rows
    assert (best.cell.artifact.level, best.cell.config.n_threads, best.is_best) == ("Q4_0", 2, True)
    assert (other.cell.artifact.level, other.cell.config.n_threads, other.is_best) == ("Q8_0", 2, False)
    assert other.costs == (
        "decode 25% slower, prefill 20% slower, 100.0 MiB more memory, 8.50 bits per weight against 4.50"
    )


def test_equal_memory_is_no_difference() -> None:
    cells = [summary(quant=level, **rates(speed), model_rss_bytes=MIB) for level, speed in (("Q8_0", 30), ("Q4_0", 40))]
    costs = answer(cells).rows[1].costs
    assert "the same memory" in costs
    assert "less memory" not in costs


def test_overlapping_intervals_are_a_tie() -> None:
    found = answer([summary(quant="Q8_0", **rates(39, 3)), summary(quant="Q4_0", **rates(40, 3), bpw=4.5)])
    assert found.rows[1].costs.startswith("a tie in decode")


def test_a_disturbed_cell_takes_part() -> None:
    found = answer([summary(**rates(20)), summary(quant="Q4_0", **rates(90), flags=("busy",)), failed(quant="F16")])
    assert found.headline.startswith("tiny at Q4_0 ")
    assert found.rows[0].costs.startswith("disturbed (busy): it is the fastest")
    assert "Failed or skipped: 1 cell." in found.reasons
    assert answer([failed()]).headline == "No choice: no decode was measured"
    assert answer([]).rows == []


def test_loads_and_devices_are_not_mixed() -> None:
    cells = [request(**rates(10)), request(quant="Q4_0", **rates(11)), summary(**rates(99)), summary(env_id="e" * 12)]
    found = answer(cells)
    assert {choice.cell.config.workload for choice in found.rows} == {"chat"}
    assert any("2 more devices or workloads" in reason for reason in found.reasons)


def test_made_up_weights_are_marked_in_the_headline_and_the_table() -> None:
    file = artifact(SHA, weights="synthetic", standin_for="tiny")
    report = gather(results(a_round(0), artifacts=[file]), draw=False)
    assert report.answer.headline.startswith("tiny at Q8_0 (synthetic weights) with 1 thread: ")
    assert report.choices[0].file == "tiny Q8_0 (synthetic)"
    assert report.synthetic is not None
    assert report.synthetic.startswith("Synthetic weights in all cells: ")
    assert "SYNTHETIC" in report.first_rows[0]


# The table


def by_label(cells: list[Any]) -> dict[str, Any]:
    return {column.label: column for column in columns_of(cells)}


def test_columns_show_texts_and_sort_by_numbers() -> None:
    found = by_label([summary(**rates(20)), summary(quant="Q4_0", **rates(1234.5678, 100)), failed(quant="F16")])
    decode = found["decode t/s"]
    assert [decode.text(row) for row in range(3)] == ["20.0 [19.0, 21.0]", "1235 [1135, 1335]", ""]
    assert decode.keys == [20.0, 1234.5678, None]
    assert found["level"].keys is None
    assert found["notes"].text(2) == "FAILED: killed"
    assert {"TTFT ms", "J/token", "KLD", "weights", "environment", "context"}.isdisjoint(found)


def test_a_text_that_repeats_is_kept_once() -> None:
    level = by_label([summary(n_threads=n) for n in (1, 2, 3)])["level"]
    assert (level.texts, level.at) == (["Q8_0"], [0, 0, 0])


def test_a_setting_gets_a_column_where_cells_of_one_load_differ_in_it() -> None:
    assert "context" not in by_label([summary(), request()])
    assert by_label([summary(n_ctx=512), summary(n_ctx=1024)])["context"].keys == [512, 1024]


# Warnings


def test_a_warning_comes_with_the_command_that_mends_it() -> None:
    file = artifact(SHA, source="org/tiny", revision="c0ffee")
    rounds = [a_round(index, cell=with_cell(a_round(), n_threads=8, n_threads_batch=8).cell) for index in range(2)]
    rounds += [with_cell(no_round(0, message="out of memory"), "b" * 64)]
    found = results(*rounds, artifacts=[file, artifact("b" * 64, file_name="x.gguf")])
    lost, crowded = cautions(found, *summarise_and_warn(found))
    assert (lost.name, lost.n_cells, lost.examples[0].message) == ("failed", 1, "out of memory")
    assert lost.command == "slmprof profile models/x.gguf -t 1 -p 6 -n 4 --n-ctx 64 --rounds 1 -r 1 -o again.jsonl"
    assert (crowded.name, crowded.examples[0].cell) == ("oversubscribed", "tiny Q8_0, 8 threads, p6 n4 d0")
    assert crowded.examples[0].message == "8 threads on 4 physical cores must wait for a turn; use fewer with -t"
    assert crowded.command == (
        "slmprof profile org/tiny@c0ffee -q Q8_0 -p 6 -n 4 --n-ctx 64 --rounds 2 -r 1 -t 4 -o again.jsonl"
    )
    for caution in (lost, crowded):
        parse_example(caution.command or "")


# Commands

# Commands are checked against the CPUs that there are.
CORES = tuple(sorted(os.sched_getaffinity(0)))[:2] if hasattr(os, "sched_getaffinity") else (0, 1)
SETTINGS: list[dict[str, Any]] = [
    {},
    {"n_depth": 32, "n_ctx": 38},
    {"n_ctx": 6},
    {"n_threads_batch": 3},
    {"n_batch": 256, "n_ubatch": 256},
    {"n_ubatch": 64, "type_k": "q8_0", "type_v": "q4_0", "flash_attn": "on"},
    {"load_mode": "mmap+mlock", "repack": False, "cores": CORES, "n_outputs_max": 1},
    {"device": "gpu", "n_gpu_layers": -1},
    {"device": "gpu", "n_gpu_layers": 7},
    {"workload": "bench", "n_prompt": 512, "n_gen": 128, "n_ctx": 512},
    {"workload": "chat", "mode": "request", "n_prompt": 128, "n_gen": 128, "n_ctx": 2048, "n_outputs_max": 1},
    {"workload": "rag", "mode": "request", "n_prompt": 1024, "n_gen": 128, "n_ctx": 4096, "n_outputs_max": 0},
]


def configs_of(command: str) -> list[RunConfig]:
    """What `slmprof profile` would measure."""
    return [cell.config for cell in expand(measure_request(parse_example(command)).axes, [SHA])]


@pytest.mark.parametrize("changes", SETTINGS)
def test_the_command_of_a_cell_gives_that_cell(changes: dict[str, Any]) -> None:
    asked = config(**changes)
    found = results(with_cell(a_round(), **changes), artifacts=[artifact(SHA, source="org/tiny")])
    (command,) = rerun_commands(found, summarise(found))
    assert configs_of(command) == [asked]


def test_one_command_takes_all_levels_threads_and_files_that_share_the_rest() -> None:
    files = [
        artifact(letter * 64, model=model, source=f"org/{model}", level=level)
        for letter, model, level in (("a", "m", "Q4_0"), ("b", "m", "Q8_0"), ("c", "n", "Q4_0"), ("d", "n", "Q8_0"))
    ]
    rounds = [
        with_cell(a_round(index), file.sha256, n_threads=n, n_threads_batch=n)
        for file in files
        for n in (2, 1)
        for index in (0, 1, 2)
    ]
    found = results(*rounds, artifacts=files)
    assert rerun_commands(found, summarise(found), output="r.jsonl") == [
        "slmprof profile org/m org/n -q Q4_0,Q8_0 -t 1,2 -p 6 -n 4 --n-ctx 64 --rounds 3 -r 1 -o r.jsonl"
    ]


def test_levels_that_were_not_crossed_with_all_threads_stay_apart() -> None:
    files = [artifact("a" * 64, source="org/m", level="Q4_0"), artifact("b" * 64, source="org/m", level="Q8_0")]
    rounds = [
        with_cell(a_round(), "a" * 64),
        with_cell(a_round(), "b" * 64),
        with_cell(a_round(), "b" * 64, n_threads=2, n_threads_batch=2),
    ]
    found = results(*rounds, artifacts=files)
    commands = rerun_commands(found, summarise(found))
    assert [shlex.split(command)[3:7] for command in commands] == [
        ["-q", "Q4_0", "-t", "1"],
        ["-q", "Q8_0", "-t", "1,2"],
    ]


def test_synthetic_weights_are_asked_for_by_name() -> None:
    file = artifact(SHA, weights="synthetic", standin_for="smollm2-135m")
    found = results(a_round(), artifacts=[file])
    (command,) = rerun_commands(found, summarise(found))
    assert command.startswith("slmprof profile smollm2-135m -q Q8_0 -t 1 --weights synthetic ")


# The rest


def test_every_environment_is_described() -> None:
    other = environment(board=None, cpu_model="Other CPU", governor="powersave")
    found = results(a_round(), a_round(env_id=other.id), environments=[ENVIRONMENT, other])
    first, second = sorted(environments_of(found, summarise(found)), key=lambda facts: facts.title)
    assert first.title == f"Other CPU ({other.id}, 1 cell)"
    assert second.title == f"Test Board 5 ({ENVIRONMENT.id}, 1 cell)"
    assert ("governor", "powersave") in first.rows


def test_how_a_number_was_obtained_names_what_is_there() -> None:
    assert "time to first token" not in dict(methods_of([summary()], results()))
    told = dict(methods_of([request(rounds=3)], results()))
    assert told["time to first token"] == "prefill and choosing the token, without load and tokenization"


def test_what_charts_and_tables_share_is_at_the_top_once() -> None:
    cells = [request(rounds=3), summary(n_threads=2, rounds=3), failed(quant="F16")]
    rows = dict(setup_of({ENVIRONMENT.id: ENVIRONMENT}, cells, cells))
    assert rows["model"] == "tiny 100.0M"
    assert rows["device"].startswith("Test Board 5, Test CPU, 4 cores; llama.cpp c0ffee")
    assert rows["chat"].startswith("128 tokens in, 128 out, decode at depth 128; context 2048")
    assert rows["bench"].endswith("load mode auto, 2 threads")
    assert rows["rounds"].startswith("medians over 3 rounds of 3 repetitions; error bars and brackets: smallest and")
    assert setup_of({}, [failed()], [failed()]) == []


def test_depths_of_one_load_are_one_row_under_all_the_names_that_charts_use() -> None:
    cells = [summary(n_depth=depth, decode_depth=depth, n_ctx=768 + depth) for depth in (0, 512)]
    rows = dict(setup_of({}, cells, cells))
    assert rows["bench, bench-2"].startswith("prefill of 512 and decode of 128 tokens, each at depth 0, 512; ")


def test_no_folder_stands_in_a_report(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_reports(results(a_round()), [out / "report.md"])
    text = (out / "report.md").read_text()
    assert str(tmp_path) not in text
    assert "slmprof report results.jsonl -o report.html\n" in text


def test_an_unknown_form_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = slmprof("report", tmp_path / "none.jsonl", "-o", "report.pdf", cache=tmp_path)
    assert_one_line(done, "report.pdf", ".html or .md")
    with pytest.raises(UserError, match=r"end the name with \.html or \.md"):
        write_reports(results(), [Path("report")])


def test_results_without_a_round_make_a_report(tmp_path: Path) -> None:
    lost = msgspec.structs.replace(results(no_round(0)))
    write_reports(lost, [tmp_path / "r.html", tmp_path / "r.md"])
    assert "No choice: no decode was measured" in (tmp_path / "r.html").read_text()
    assert "There are no charts: no cell has figures." in (tmp_path / "r.html").read_text()
    write_reports(results(), [tmp_path / "r.html", tmp_path / "r.md"])
    assert "0 cells" in (tmp_path / "r.md").read_text()


# Charts of very many cells


def test_the_charts_of_very_many_cells_are_of_some_and_say_so() -> None:
    cells = [
        summary(model=f"m{place}", n_params=1_000_000 * (place + 1), quant=f"L{level}", n_threads=n)
        for place in range(20)
        for level in range(10)
        for n in range(1, 11)
    ]
    chosen, note = sampled(cells)
    # A model has 100 cells, and 400 are drawn.
    assert {cell.artifact.model for cell in chosen} == {"m0", "m1", "m2", "m3"}
    assert note == "The charts show the 4 smallest of 20 models"
    assert sampled(cells[:100]) == (cells[:100], None)


def test_only_the_rounds_of_the_cells_that_are_drawn_are_kept(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "r.jsonl", ENVIRONMENT, artifact(), a_round(0), with_cell(a_round(0), n_threads=2), a_round(1)
    )
    found = read_results([path])
    one = [cell for cell in summarise(found) if cell.config.n_threads == a_round(0).cell.config.n_threads]
    assert restricted(found, one).rounds == [a_round(0), a_round(1)]
    assert len(found.rounds) == 3


def test_the_charts_of_very_many_cells_are_those_of_the_load_with_the_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = [
        with_cell(a_round(number), workload=load, n_threads=threads)
        for load in ("chat", "rag")
        for threads in (1, 2)
        for number in (0, 1)
    ]
    path = write_lines(tmp_path / "r.jsonl", ENVIRONMENT, artifact(), *loads)
    alone = [chart.svg for chart in gather(some_of_first(read_results([path]))).charts]
    monkeypatch.setattr("plots.render.sampling.MANY_CELLS", 3)
    report = gather(read_results([path]))
    assert [chart.svg for chart in report.charts] == alone
    assert report.n_cells == 4
    left = "The charts show 1 of 2 combinations of device, workload and settings; slmprof plot --all draws all."
    assert report.charts_note == left


def some_of_first(found: Results) -> Results:
    """Keep the rounds of the first load."""
    return restricted(found, [cell for cell in summarise(found) if cell.config.workload == "chat"])


def test_plot_says_what_it_leaves_out_of_very_large_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plots.render.sampling.MANY_CELLS", 3)
    lines = [with_cell(a_round(0), workload=load, n_threads=n) for load in ("chat", "rag") for n in (1, 2)]
    path = write_lines(tmp_path / "r.jsonl", ENVIRONMENT, artifact(), *lines)
    words = [str(path), "-o", str(tmp_path / "charts")]
    drawn = CliRunner().invoke(root, ["plot", *words])
    assert "The charts show 1 of 2 combinations of device, workload and settings, since" in drawn.stderr
    assert "speed-vs-threads-chat.png" in drawn.stdout
    assert "speed-vs-threads-rag.png" not in drawn.stdout
    everything = CliRunner().invoke(root, ["plot", *words, "--chart", "speed-vs-threads"])
    assert "The charts show" not in everything.stderr
    assert len(everything.stdout.split()) == 2
