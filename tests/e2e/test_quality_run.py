"""One command from a trained checkpoint to a report that weighs speed, memory and quality."""

import json
from pathlib import Path

from tests.support.checkpoints import TRAINED
from tests.support.commandline import slmprof

LEVELS = ("F16", "Q8_0", "Q4_K_M", "Q2_K")


def test_speed_memory_and_quality_end_in_one_recommendation(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = slmprof("run", TRAINED, "-q", ",".join(LEVELS), "-t", "1", "-p", "16", "-n", "4", "-r", "1",
                   "--rounds", "1", "--quality", "-o", out, cache=cache)  # fmt: skip
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
    # A limit on the divergence leaves the levels that keep it.
    limited = slmprof("recommend", out / "results.jsonl", "--max-kld", "0.01", "--flagged", "--json", cache=cache)
    assert limited.status == 0, limited.err
    assert json.loads(limited.out)["choices"][0]["chosen"]["quant"] in {"F16", "Q8_0", "Q4_K_M"}
