"""One command from a trained checkpoint to a report that weighs speed, memory, quality and accuracy."""

import json
from pathlib import Path

from profiler.results.file import read_results
from tests.support.checkpoints import TRAINED
from tests.support.commandline import assert_one_line, slmprof

LEVELS = ("F16", "Q8_0", "Q4_K_M", "Q2_K")


def test_speed_memory_quality_and_accuracy_end_in_one_recommendation(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = slmprof("run", TRAINED, "-q", ",".join(LEVELS), "-t", "1", "-p", "16", "-n", "4", "-r", "1",
                   "--rounds", "1", "--quality", "--tasks", "offline", "-o", out, cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    cells = json.loads(slmprof("export", out / "results.jsonl", "--format", "json", cache=cache).out)
    lost = {cell["quant"]: cell["kld"] for cell in cells}
    assert set(lost) == set(LEVELS)
    # The weights are trained, so each step down costs more than the one before.
    assert lost["F16"] == 0 < lost["Q8_0"] < lost["Q4_K_M"] < lost["Q2_K"]
    assert (out / "report.html").stat().st_size > 10_000
    # A busy machine flags cells, which a choice leaves out; here they count as well.
    page = tmp_path / "report.md"
    told = slmprof("report", out / "results.jsonl", "--flagged", "--prefer", "speed=1,memory=1,quality=1", "-o", page,
                   cache=cache)  # fmt: skip
    assert told.status == 0, told.err
    report = page.read_text()
    assert "tiny-llama at " in report.split("## Cells")[0]
    assert "weights speed=1, memory=1, quality=1" in report
    _check_accuracy(out, cache)
    # A limit on the divergence leaves the levels that keep it.
    limited = slmprof("recommend", out / "results.jsonl", "--max-kld", "0.01", "--flagged", "--json", cache=cache)
    assert limited.status == 0, limited.err
    assert json.loads(limited.out)["choices"][0]["chosen"]["quant"] in {"F16", "Q8_0", "Q4_K_M"}


def _check_accuracy(out: Path, cache: Path) -> None:
    results = out / "results.jsonl"
    found = read_results([results])
    assert len(found.tasks) == 5 * len(LEVELS)
    assert all(record.status == "ok" and record.n_items == 40 for record in found.tasks)
    assert len({record.prompts_sha256 for record in found.tasks}) == 5  # all levels were asked the same
    for cell in json.loads(slmprof("export", results, "--format", "json", cache=cache).out):
        assert 0 < cell["accuracy"] < 1
        assert len(cell["accuracy_tasks"]) == 5
        assert (cell["accuracy_loss"] is None) == (cell["quant"] == "F16")
    assert "offline_common_sense" in (out / "report.html").read_text()
    assert "## Tasks" in (out / "report.md").read_text()
    assert list((out / "charts").glob("accuracy-*.png"))
    before = results.read_bytes()
    again = slmprof(
        "tasks", TRAINED, "-q", ",".join(LEVELS), "--tasks", "offline", "-t", "1", "-o", results, cache=cache
    )
    assert again.status == 0, again.err
    assert results.read_bytes() == before
    assert "20 tasks answered already" in again.err
    limit = ("--min-accuracy", "offline_common_sense=1%", "--flagged", "--json")
    assert slmprof("recommend", results, *limit, cache=cache).status == 0
    assert_one_line(slmprof("recommend", results, "--min-accuracy", "hellaswag=0.5", cache=cache),
                    "--min-accuracy", "hellaswag", "slmprof tasks")  # fmt: skip
