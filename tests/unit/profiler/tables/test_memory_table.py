"""`show --memory` as a person reads it."""

from pathlib import Path

from click.testing import CliRunner

from profiler.cli.results import show
from profiler.records.round import Memory
from profiler.tables.memory import render_memory
from tests.support.cells import artifact
from tests.support.rounds import MIB, a_round, no_round, results, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT
from tests.unit.profiler.analysis.test_memory_parts import BUFFERS, phases


def lines_of(text: str, name: str) -> list[list[str]]:
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith(f"| {name} ")]
    return [[each.strip() for each in row] for row in rows]


def test_parts_sum_measured_and_remainder_stand_under_each_other() -> None:
    text = render_memory(results(a_round(memory=phases(), buffers=BUFFERS)))
    assert lines_of(text, "weights, mapped") == [["weights, mapped", "100.0", "", "100.0", "100.0"]]
    assert lines_of(text, "weights, copied") == []
    assert lines_of(text, "compute buffer") == [["compute buffer", "300.0", "9.0", "", "9.0"]]
    assert lines_of(text, "runtime") == [["runtime", "", "7.0", "4.0", "11.0"]]
    assert lines_of(text, r"**sum**") == [["**sum**", "", "87.0", "104.0", "191.0"]]
    assert lines_of(text, "measured") == [["measured", "", "89.0", "104.0", "195.0"]]
    assert lines_of(text, "**remainder**") == [["**remainder**", "", "2.0", "0.0", "4.0 (+2.1 %)"]]
    assert lines_of(text, "baseline")[0][-1] == "30.0"
    assert lines_of(text, "peak")[0][-1] == "225.0"
    assert "\x1b" not in text


def test_the_title_tells_the_settings_that_rule_memory() -> None:
    record = with_cell(a_round(), n_outputs_max=1, repack=False, load_mode="none", n_ctx=512)
    text = render_memory(results(record))
    assert (
        "## tiny Q8_0 (940.0K): custom, context 512, ubatch 512, KV f16/f16, load none, no repack, outputs 1, 1 thread"
        in text
    )


def test_a_round_of_an_older_version_says_that_its_runtime_is_unknown() -> None:
    memory = phases()
    del memory["vocabulary"]
    text = render_memory(results(a_round(memory=memory, buffers=BUFFERS)))
    assert lines_of(text, "runtime") == [["runtime", "", "", "", "unknown"]]


def test_failed_rounds_have_no_table_and_unknown_parts_are_said() -> None:
    assert render_memory(results(no_round())) == "no cells are measured yet\n"
    text = render_memory(results(a_round(memory={"imported": Memory()})))
    assert "parts unknown" in text


def test_the_command_prints_it(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), a_round(memory=phases(), buffers=BUFFERS))
    answer = CliRunner().invoke(show, [str(file), "--memory"])
    assert answer.exit_code == 0
    assert f"{195 * MIB / MIB:.1f}" in answer.stdout
    assert "**remainder**" in answer.stdout
