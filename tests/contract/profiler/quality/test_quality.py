"""The command on a tiny real checkpoint, through llama.cpp: its figures hang together, and what it refuses."""

import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.measure.launch import run_in_child
from profiler.quality.session import QualityOptions, config_of
from profiler.quality.worker import ScoreAnswer, ScoreJob, WindowsScored, work
from profiler.records.quality import Divergence, QualityRecord
from profiler.results.file import read_results
from tests.support.checkpoints import make_checkpoint
from tests.support.commandline import assert_one_line, slmprof
from tests.support.quality import model

TEXT = "The cat sat on the mat, and then it sat on the hat. 12 + 30 = 42; def f(x): return x + 1\n" * 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quality")
    make_checkpoint(folder / "tiny", vocab=600)
    (folder / "text.txt").write_text(TEXT)
    return folder


def by_level(path: Path) -> dict[str, QualityRecord]:
    found = read_results([path])
    return {found.artifacts[each.artifact_sha256].level: each for each in found.qualities}


def compared(record: QualityRecord) -> Divergence:
    assert record.divergence is not None
    return record.divergence


def test_levels_of_a_checkpoint(folder: Path) -> None:
    results = folder / "results.jsonl"
    command: list[Any] = ["quality", folder / "tiny", "-q", "Q8_0,Q4_0", "--text", folder / "text.txt", "--n-ctx", "64"]
    done = slmprof(*command, "-t", "1", "-o", results, cache=folder / "cache")
    assert done.status == 0, done.err
    found = by_level(results)
    assert set(found) == {"F16", "Q8_0", "Q4_0"}  # the unquantized model came by itself
    for record in found.values():
        assert record.perplexity is not None
        assert record.perplexity.n_scored == 31 * record.n_chunks > 300
        # Random weights: about as good as a guess among all tokens.
        assert 100 < record.perplexity.ppl.value < 3000
        assert math.isfinite(record.perplexity.ppl.se)
    same, q8, q4 = (compared(found[level]) for level in ("F16", "Q8_0", "Q4_0"))
    assert (same.kld.value, same.same_top.value) == (0, 1)
    assert 0 < q8.kld.value < 1e-3 < q4.kld.value
    assert q8.kld.value <= q8.kld_p90 <= q8.kld_p99 <= q8.kld_max
    assert 0.5 < q4.same_top.value <= q8.same_top.value <= 1
    before = results.read_bytes()
    again = slmprof(*command, "-t", "1", "-o", results, cache=folder / "cache")
    assert (again.status, again.out) == (0, done.out)
    assert results.read_bytes() == before
    assert list((folder / "cache" / "quality").iterdir()) == []
    assert slmprof("show", results, cache=folder / "cache").out == done.out


def test_any_file_and_kv_cache_against_any_file(folder: Path, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "wide", vocab=600, head_dim=32)
    results, cache = tmp_path / "results.jsonl", folder / "cache"
    done = slmprof("convert", tmp_path / "wide", "-q", "Q8_0,Q4_0", "-o", tmp_path / "files", cache=cache)
    assert done.status == 0, done.err
    eight, four = (next((tmp_path / "files").glob(f"*{level}.gguf")) for level in ("Q8_0", "Q4_0"))
    command: list[Any] = ["quality", four, "--reference", eight, "--text", folder / "text.txt", "--n-ctx", "64"]
    done = slmprof(*command, "--ctk", "f16,q4_0", "--ctv", "q4_0", "-t", "1", "-o", results, cache=cache)
    assert done.status == 0, done.err
    found = read_results([results])
    records = {(found.artifacts[each.artifact_sha256].level, str(each.cache)): each for each in found.qualities}
    assert set(records) == {("Q8_0", "f16/f16"), ("Q4_0", "f16/q4_0"), ("Q4_0", "q4_0/q4_0")}
    (reference,) = {each.reference_sha256 for each in records.values()}
    assert found.artifacts[reference or ""].level == "Q8_0"
    kld = [compared(each).kld.value for each in records.values()]
    assert kld[0] == 0 < kld[1] < kld[2]
    assert "q4_0/q4_0" in done.out

    # Heads of 16 values, and blocks of 32.
    command = ["quality", folder / "tiny", "-q", "F16", "--text", folder / "text.txt", "--n-ctx", "64", "-o", results]
    done = slmprof(*command, "--ctv", "q8_0", cache=cache)
    assert done.status == 1
    assert done.err.splitlines()[-1].endswith("values also flash attention; use f16")
    assert_one_line(slmprof(*command, "--ctk", "q8", cache=cache), "unknown --ctk 'q8'; choose from f32, f16, ")
    assert_one_line(
        slmprof(*command, "--reference", folder / "tiny" / "config.json", cache=cache), "is not a GGUF file"
    )


def answer(folder: Path, path: Path, *, n_ctx: int, is_reference: bool) -> ScoreAnswer:
    scratch = folder / f"scratch-{n_ctx}"
    scratch.mkdir(exist_ok=True)
    options = QualityOptions(n_ctx=n_ctx, n_threads=1)
    found = work(
        ScoreJob(
            path=str(path),
            config=config_of(options),
            text_path=str(folder / "text.txt"),
            n_chunks=2,
            first=0,
            n_windows=100,
            folder=str(scratch),
            is_reference=is_reference,
        ),
        lambda news: None,
    )
    assert found.failure is None
    return found


def test_the_unquantized_model_against_itself_and_a_window_of_several_batches(folder: Path, tmp_path: Path) -> None:
    # In this process: what is written is compared with the same file's logits.
    from quant.convert.to_gguf import convert

    path = tmp_path / "tiny.gguf"
    make_checkpoint(tmp_path / "long", vocab=600, context=2048)
    convert(tmp_path / "long", path, outtype="f16")
    (tmp_path / "text.txt").write_text(TEXT * 3)
    for n_ctx in (64, 1024):
        first = answer(tmp_path, path, n_ctx=n_ctx, is_reference=True)
        again = answer(tmp_path, path, n_ctx=n_ctx, is_reference=False)
        assert first.nll == again.nll
        assert len(first.nll) == first.n_windows * (n_ctx // 2 - 1) == again.n_same_top
        assert max(again.kld) < 1e-7
        assert again.peak_rss_bytes is None or again.peak_rss_bytes > 0


def test_synthetic_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    done = slmprof("synthesize", folder / "tiny" / "config.json", "-o", tmp_path / "synthetic", cache=tmp_path)
    assert done.status == 0, done.err
    done = slmprof("quality", tmp_path / "synthetic", "-q", "Q8_0", "-o", tmp_path / "r.jsonl", cache=tmp_path)
    assert done.status == 2
    assert "synthetic weights are random numbers, so there is no quality to lose" in done.err
    assert not (tmp_path / "r.jsonl").exists()
    command = ["run", folder / "tiny", "--weights", "synthetic", "--quality", "-o", tmp_path / "out"]
    assert_one_line(slmprof(*command, cache=tmp_path), "synthetic weights are random numbers")


def test_a_text_that_is_too_short_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "short.txt").write_text("short")
    command = ["quality", folder / "tiny", "-q", "F16", "--text", tmp_path / "short.txt", "-o", tmp_path / "r.jsonl"]
    done = slmprof(*command, cache=folder / "cache")
    assert done.status == 2
    assert "no window of 512" in done.err.splitlines()[-1]
    assert "--n-ctx" in done.err.splitlines()[-1]


def test_a_process_reports_progress_before_it_answers(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("0" * 24)
    file = model(tmp_path, "F16", [0.0, 0.0])
    job = ScoreJob(
        path=str(file.path),
        config=config_of(QualityOptions(n_ctx=8)),
        text_path=str(tmp_path / "text"),
        n_chunks=None,
        first=1,
        n_windows=2,
        folder=None,
        is_reference=False,
    )
    news: list[bytes] = []
    found = run_in_child(
        "tests.support.scripted_quality_worker", job, ScoreAnswer, tmp_path, timeout_s=60, on_progress=news.append
    )
    assert [msgspec.json.decode(line, type=WindowsScored) for line in news] == [
        WindowsScored(n_done=2, n_windows=3),
        WindowsScored(n_done=3, n_windows=3),
    ]
    assert found.nll == pytest.approx([math.log(2)] * 6)
