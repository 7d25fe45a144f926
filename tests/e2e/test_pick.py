"""`slmprof pick` from a checkpoint to one file: killed and resumed, out of candidates, out of time."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from profiler.results.file import read_results
from tests.support.checkpoints import TRAINED
from tests.support.commandline import ROOT, environment, slmprof

# With limits on speed and KLD the best quality wins, which no busy machine changes.
COMMAND = ("pick", TRAINED, "-q", "Q4_0,Q8_0", "-t", "1", "--workload", "survey", "-r", "1", "--min-decode", "0.01",
           "--max-kld", "0.05", "--patience", "0%")  # fmt: skip


def rounds_in(results: Path) -> Counter[tuple[str, int]]:
    """Count the rounds that went well."""
    found: Counter[tuple[str, int]] = Counter()
    if results.exists():
        for line in results.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and (record := json.loads(line))["type"] == "round":
                found[json.dumps(record["cell"]), record["round"]] += record["status"] == "ok"
    return found


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
def test_a_pick_that_was_killed_goes_on_to_one_file_and_a_report(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = out / "results.jsonl"
    command = [sys.executable, "-m", "profiler", *map(str, COMMAND), "-o", str(out)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=environment(cache), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and len(rounds_in(results)) < 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    done = slmprof(*COMMAND, "-o", out, "--json", cache=cache)
    assert done.status == 0, done.err
    (pick,) = json.loads(done.out)["picks"]
    assert (pick["decided"], pick["chosen"]["level"], pick["chosen"]["rounds"] >= 6) == (True, "Q8_0", True)
    assert pick["chosen"]["kld"] < 0.05
    assert pick["chosen"]["deploy"]["llama_server"].startswith("llama-server --model ")
    assert set(rounds_in(results).values()) == {1}
    # The file is there, all others are gone, and what was measured of them stays.
    assert [path.name for path in (out / "models").glob("*.gguf")] == ["tiny-llama-2.6M-Q8_0.gguf"]
    found = read_results([results])
    assert {record.adaptive for record in found.qualities} == {True}
    page = (out / "report.html").read_text()
    assert page.index("The race: tiny-llama") < page.index('id="cells"')
    assert (out / "deploy" / "Modelfile").is_file()
    assert (out / "charts" / "race.png").stat().st_size > 1000
    shown = slmprof("show", results, cache=cache)
    assert "Q8_0" in shown.out
    assert "cannot be compared" not in shown.out
    assert slmprof("compare", results, results, cache=cache).status == 0


def test_where_nothing_fits_nothing_is_made(cache: Path, tmp_path: Path) -> None:
    done = slmprof(*COMMAND, "-q", "Q4_0,IQ2_XXS", "--max-file", "1KiB", "-o", tmp_path, cache=cache)
    assert done.status == 1
    assert "no choice" in done.out
    assert "out: Q4_0" in done.err
    assert "dropped: needs an importance matrix" in done.err
    assert not (tmp_path / "models").exists()


def test_a_budget_that_is_too_short_and_synthetic_weights(cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "config.json"
    other.parent.mkdir()
    other.write_bytes((TRAINED / "config.json").read_bytes())
    command = ("pick", TRAINED / "config.json", other, "--weights", "synthetic", "-q", "Q4_0,Q8_0", "-t", "1",
               "--workload", "survey", "-r", "1", "--budget", "3s", "-o", tmp_path)  # fmt: skip
    done = slmprof(*command, cache=cache)
    assert done.status == 0, done.err
    # Models do not compete, and share the budget.
    assert re.findall(r"^## (.+?)[ :].*$", done.out, re.MULTILINE) == ["tiny-llama", "other"]
    assert done.out.count("not decided yet") == 2
    assert "the same command again continues" in done.out
    assert "SYNTHETIC" in done.err
    assert read_results([tmp_path / "results.jsonl"]).qualities == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--max-ttft", "1s", "--workload", "bench"), "request workload"),
        (("-t", "1,auto"), "auto alone"),
        (("--ctk", "f16,q8_0"), "one value of ctk"),
        (("--max-kld", "0.1", "--weights", "synthetic"), "--max-kld"),
    ],
)
def test_what_cannot_be_picked_is_refused(options: tuple[str, ...], word: str, cache: Path, tmp_path: Path) -> None:
    done = slmprof("pick", TRAINED, *options, "-o", tmp_path, cache=cache)
    assert done.status == 2
    assert word in done.err.splitlines()[-1]
