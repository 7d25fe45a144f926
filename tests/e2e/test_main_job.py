"""The main job on the command line: checkpoints in, files, results, tables and charts out. Invariants, never speeds."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from profiler.results.file import read_results
from tests.support.checkpoints import QWEN2_05B, SMOLLM2_135M, make_checkpoint
from tests.support.commandline import slmprof

CHARTS = ("latency-vs-parameters", "speed-vs-threads", "memory-by-part", "decode-vs-size", "level-tradeoff", "pareto")


def check_results(folder: Path, n_cells: int, rounds: int) -> None:
    """Check the invariants of every run."""
    results = read_results([folder / "results.jsonl"])
    keys = [(record.cell.key, record.round) for record in results.rounds]
    assert len(keys) == len(set(keys)) == n_cells * rounds
    for record in results.rounds:
        assert record.status == "ok", record.error
        for sample in record.samples:
            assert len(sample.decode_ns) == record.cell.config.n_gen
            assert all(step > 0 for step in sample.decode_ns)
            assert sample.prefill_ns is not None
            assert sample.prefill_ns > 0
        memory = record.memory
        assert list(memory) == ["imported", "vocabulary", "loaded", "context", "prefilled", "decoded"]
        last = memory["decoded"]
        assert last.peak_rss_bytes is None or last.rss_bytes is None or last.peak_rss_bytes >= last.rss_bytes
    text = (folder / "results.jsonl").read_text()
    assert str(folder) not in text


def test_two_checkpoints_of_true_shapes(tmp_path: Path, cache: Path) -> None:
    small = make_checkpoint(tmp_path / "SmolLM2-135M", **SMOLLM2_135M)
    large = make_checkpoint(tmp_path / "Qwen2-0.5B", **QWEN2_05B)
    out = tmp_path / "out"
    counts = ["-p", "16", "-n", "4", "-r", "1", "--rounds", "1"]
    done = slmprof("run", small, large, "-q", "Q8_0,Q4_K_M", "-t", "1,2", *counts, "-o", out, cache=cache)
    assert done.status == 0, done.err
    check_results(out, n_cells=8, rounds=1)
    assert {path.name for path in (out / "models").glob("*.gguf")} == {
        f"{model}-{level}.gguf" for model in ("SmolLM2-135M", "Qwen2-0.5B") for level in ("Q8_0", "Q4_K_M")
    }
    charts = {path.name for path in (out / "charts").iterdir()}
    drawn = {name.removesuffix(".png") for name in charts if name.endswith(".png")}
    assert {f"{name}-p16-n4-d0" for name in CHARTS} <= drawn
    # Each picture with the figures behind it, and nothing else.
    assert charts == {f"{stem}.{form}" for stem in drawn for form in ("png", "csv")}
    assert "SmolLM2-135M (134.5M)" in done.out
    assert "Qwen2-0.5B (494.0M)" in done.out
    exported = slmprof("export", out / "results.jsonl", "--format", "json", cache=cache)
    cells = json.loads(exported.out)
    assert len(cells) == 8
    by_level = {cell["quant"]: cell for cell in cells if cell["model"] == "Qwen2-0.5B"}
    assert by_level["Q8_0"]["n_params"] == 494_032_768  # the tied matrix counts once
    # 896 is no multiple of 256: the K mix falls back and is larger than its name.
    assert 6.2 < by_level["Q4_K_M"]["bpw"] < 6.5
    assert by_level["Q8_0"]["bpw"] == pytest.approx(8.5, abs=0.01)
    sizes = [by_level[level]["model_rss_bytes"] for level in ("Q4_K_M", "Q8_0")]
    assert sizes == sorted(sizes)
    for cell in cells:
        assert cell["model_rss_bytes"] > 0.9 * cell["weights_bytes"]
        assert cell["prefill_tps_lo"] is None  # one round has no interval
        assert cell["ttft_ms"] is None  # separate mode has none


def test_a_request_workload_and_every_export(tiny: Path, cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = slmprof("run", tiny, "-q", "Q8_0", "-t", "1", "--workload", "survey", "-r", "2", "--rounds", "6", "-o", out,
                   cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    check_results(out, n_cells=1, rounds=6)
    (cell,) = json.loads(slmprof("export", out / "results.jsonl", "--format", "json", cache=cache).out)
    assert cell["mode"] == "request"
    assert (cell["n_prompt"], cell["n_gen"], cell["n_ctx"], cell["decode_depth"]) == (50, 50, 2048, 50)
    assert cell["ttft_ms_lo"] <= cell["ttft_ms"] <= cell["ttft_ms_hi"]
    assert cell["itl_p50_ms"] <= cell["itl_p95_ms"] <= cell["itl_p99_ms"]
    assert cell["rounds"] == 6
    assert cell["reps"] == 2
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert float(rows[0]["decode_tps"]) == pytest.approx(cell["decode_tps"])
    jsonl = slmprof(
        "export", out / "results.jsonl", "--format", "llama-bench-jsonl", "--label", "mine", cache=cache
    ).out
    prefill, decode = (json.loads(line) for line in jsonl.splitlines())
    assert (prefill["n_prompt"], prefill["n_gen"], prefill["n_depth"]) == (50, 0, 0)
    assert (decode["n_prompt"], decode["n_gen"], decode["n_depth"]) == (0, 50, 50)
    assert len(decode["samples_ns"]) == 12
    assert {prefill["build_commit"], decode["build_commit"]} == {"mine"}
    shown = slmprof("show", out / "results.jsonl", cache=cache)
    assert shown.out == (out / "table.md").read_text()
    chosen = slmprof("recommend", out / "results.jsonl", "--flagged", "-o", out, cache=cache)
    assert "\nrun it: llama-server --model " in chosen.out
    command = [sys.executable, out / "deploy" / "run.py", "Once upon a time"]
    answered = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answered.returncode == 0, answered.stderr
    assert answered.stdout.strip()
    forms = ("--format", "svg", "--format", "pdf")
    plotted = slmprof("plot", out / "results.jsonl", "-o", tmp_path / "charts", *forms, cache=cache)
    assert plotted.status == 0
    drawn = [Path(line) for line in plotted.out.splitlines()]
    assert all(path.stat().st_size > 1000 for path in drawn)
    by_form = [{path.stem for path in drawn if path.suffix == suffix} for suffix in (".svg", ".pdf")]
    assert by_form[0] == by_form[1] != set()
    assert "only one thread count" in plotted.err


def test_the_same_command_again_measures_nothing(tiny: Path, cache: Path, tmp_path: Path) -> None:
    command = ["profile", tiny, "-q", "Q4_0,Q8_0", "-t", "1", "-p", "8", "-n", "2", "-r", "1", "--rounds", "2",
               "-o", tmp_path / "results.jsonl"]  # fmt: skip
    first = slmprof(*command, cache=cache)
    assert first.status == 0, first.err
    before = (tmp_path / "results.jsonl").read_bytes()
    again = slmprof(*command, cache=cache)
    assert again.status == 0
    assert "0 rounds to measure, 4 done" in again.err
    assert "converting" not in again.err
    assert (tmp_path / "results.jsonl").read_bytes() == before
    assert again.out == first.out


def test_synthetic_weights_of_a_known_name_are_marked_everywhere(cache: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = slmprof("run", "SmolLM2_135M", "--weights", "synthetic", "-q", "Q8_0", "-t", "1,2", "-p", "8", "-n", "2",
                   "-r", "1", "--rounds", "1", "-o", out, cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    assert "SYNTHETIC weights in the shape of smollm2-135m" in done.out
    (cell, _) = json.loads(slmprof("export", out / "results.jsonl", "--format", "json", cache=cache).out)
    assert (cell["weights"], cell["standin_for"], cell["model"]) == ("synthetic", "smollm2-135m", "smollm2-135m")


def test_depth_and_lists(tiny: Path, cache: Path, tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    done = slmprof("profile", tiny, "-q", "F16", "-t", "1", "-p", "8,16", "-n", "2", "-d", "0,32", "-r", "1",
                   "--rounds", "1", "-o", results, cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    cells = json.loads(slmprof("export", results, "--format", "json", cache=cache).out)
    assert {(cell["n_prompt"], cell["n_depth"], cell["decode_depth"]) for cell in cells} == {
        (8, 0, 0), (8, 32, 32), (16, 0, 0), (16, 32, 32),
    }  # fmt: skip


def test_a_gguf_file_is_profiled_as_it_is(tiny: Path, cache: Path, tmp_path: Path) -> None:
    made = slmprof("convert", tiny, "-o", tmp_path / "mine.gguf", cache=cache)
    assert made.status == 0, made.err
    assert made.out.strip() == str(tmp_path / "mine.gguf")
    done = slmprof("profile", tmp_path / "mine.gguf", "-t", "1", "-p", "8", "-n", "2", "-r", "1", "--rounds", "1",
                   "-o", tmp_path / "results.jsonl", cache=cache)  # fmt: skip
    assert done.status == 0, done.err
    (cell,) = json.loads(slmprof("export", tmp_path / "results.jsonl", "--format", "json", cache=cache).out)
    assert cell["quant"] == "BF16"
