"""QualityRecord beside speed: of one text, by the file's hash and the KV cache; and the table that a person reads."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.analysis.quality_by_file import comparable
from profiler.analysis.summarise import summarise
from profiler.cli.results import table_of
from profiler.export.flat import to_json
from profiler.quality.figures import divergence, perplexity
from profiler.quality.table import quality_table
from profiler.records.cell_summary import QualityFigures
from profiler.records.config import F16_CACHE
from profiler.records.failure import Failure
from profiler.records.quality import QualityRecord
from profiler.results.file import read_results
from profiler.results.writer import ResultsWriter
from quant.base.errors import UserError
from tests.support.cells import artifact, cell
from tests.support.quality import with_artifacts
from tests.support.rounds import a_round
from tests.support.summaries import ENVIRONMENT

F16 = artifact(sha256="1" * 64, level="F16", file_name="tiny-F16.gguf", tensor_bytes=1_880_000)
Q8 = artifact(sha256="8" * 64, level="Q8_0")
Q4 = artifact(sha256="4" * 64, level="Q4_0", tensor_bytes=500_000)


def quality(sha256: str = Q8.sha256, **changes: Any) -> QualityRecord:
    """A record of 20 tokens, of perplexity 4 where the unquantized model has 2."""
    fields: dict[str, Any] = {
        "artifact_sha256": sha256,
        "text_sha256": "a" * 64,
        "text_name": "corpus.txt",
        "n_ctx": 16,
        "n_chunks_asked": None,
        "reference_sha256": F16.sha256,
        "env_id": ENVIRONMENT.id,
        "status": "ok",
        "started_at": "2026-01-01T00:00:00Z",
        "n_threads": 1,
        "n_chunks": 3,
        "n_tokens": 50,
        "perplexity": perplexity([1.386294, 1.386295] * 10),
        "divergence": divergence([1.386294, 1.386295] * 10, [0.693147] * 20, [0.01, 0.03] * 10, 15),
    }
    return QualityRecord(**(fields | changes))


def base() -> QualityRecord:
    return quality(
        F16.sha256,
        perplexity=perplexity([0.693147] * 20),
        divergence=divergence([0.693147] * 20, [0.693147] * 20, [0.0] * 20, 20),
    )


def test_a_cell_carries_its_file_s_quality() -> None:
    results = with_artifacts([base(), quality()], F16, Q8)
    results.rounds = [a_round(cell=cell(Q8.sha256)), a_round(cell=cell(F16.sha256))]
    by_level = {each.artifact.level: each for each in summarise(results)}
    found = by_level["Q8_0"]
    assert (found.quality.ppl.value, found.quality.kld.value, found.quality.same_top) == (
        pytest.approx(4, rel=1e-5),
        pytest.approx(0.02),
        0.75,
    )
    assert found.quality.kld.se == pytest.approx(0.01 / 19**0.5)
    assert found.quality.text_sha256 == "a" * 64
    assert (by_level["F16"].quality.kld.value, by_level["F16"].quality.same_top) == (0, 1)
    exported = msgspec.json.decode(to_json([found]))[0]
    assert (exported["ppl"], exported["text_sha256"]) == (found.quality.ppl.value, found.quality.text_sha256)


def test_a_file_that_was_not_scored_has_no_quality() -> None:
    results = with_artifacts([quality(status="failed", perplexity=None, divergence=None)], Q8)
    results.rounds = [a_round(cell=cell(Q8.sha256))]
    (found,) = summarise(results)
    assert found.quality == QualityFigures()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_ctx": 32}, "windows of 16 tokens; 1 of"),
        ({"n_ctx": 8}, "windows of 16 tokens; 1 of"),
        ({"n_chunks_asked": 2, "n_chunks": 2}, "windows of 16 tokens; 1 of"),
    ],
)
def test_of_several_windows_those_count_in_which_most_was_scored(changes: dict[str, Any], words: str) -> None:
    results = with_artifacts([base(), quality(), quality(Q4.sha256, **changes)], F16, Q8, Q4)
    results.rounds = [a_round(cell=cell(each.sha256)) for each in (F16, Q8, Q4)]
    assert {each.artifact.level for each in summarise(results) if each.quality.ppl is None} == {"Q4_0"}
    left_out = comparable(results).left_out
    assert left_out is not None
    assert words in left_out
    assert left_out in quality_table(results)


def test_of_equally_many_the_longest_windows_count() -> None:
    results = with_artifacts([quality(n_ctx=32), quality(), quality(n_ctx=8)], F16, Q8)
    assert [record.n_ctx for record in comparable(results).records.values()] == [32]


def test_different_texts_are_not_compared() -> None:
    results = with_artifacts([quality(), quality(F16.sha256, text_sha256="b" * 64)], F16, Q8)
    results.rounds = [a_round(cell=cell(Q8.sha256))]
    assert summarise(results)[0].quality.ppl is None
    problem = comparable(results).problem
    assert problem is not None
    assert "measured on 2 texts, which cannot be compared" in problem
    assert problem in quality_table(results)


def test_a_cell_carries_the_quality_of_its_kv_cache_or_none() -> None:
    cached = quality(type_k="q8_0", type_v="q8_0", perplexity=perplexity([2.0] * 20))
    results = with_artifacts([base(), quality(), cached], F16, Q8)
    caches = [("f16", "f16"), ("q8_0", "q8_0"), ("q4_0", "q4_0")]
    results.rounds = [a_round(cell=cell(Q8.sha256, type_k=type_k, type_v=type_v)) for type_k, type_v in caches]
    found = {each.config.cache: each.quality for each in summarise(results)}
    assert [found[cache].ppl and round(found[cache].ppl.value, 3) for cache in caches] == [4.0, 7.389, None]
    assert found["q4_0", "q4_0"] == QualityFigures()
    exported = {row["type_k"]: row for row in msgspec.json.decode(to_json(summarise(results)))}
    assert exported["q8_0"]["reference_sha256"] == F16.sha256
    assert (exported["q8_0"]["quality_n_ctx"], exported["q4_0"]["quality_n_ctx"]) == (16, None)


def test_a_model_s_figures_are_against_the_reference_of_most_files() -> None:
    other = quality(F16.sha256, reference_sha256=Q4.sha256)
    results = with_artifacts([base(), quality(), quality(Q4.sha256), other], F16, Q8, Q4)
    records = comparable(results).records
    assert {record.reference_sha256 for record in records.values()} == {F16.sha256}
    alone = with_artifacts([quality(), quality(Q4.sha256, reference_sha256=Q4.sha256)], F16, Q8, Q4)
    records = comparable(alone).records
    assert [record.divergence is None for record in records.values()] == [True, False]  # the last of equally many
    assert all(record.perplexity for record in records.values())


def test_another_tokenizer_makes_other_windows_of_the_same_text() -> None:
    results = with_artifacts([quality(), quality(F16.sha256, n_chunks=4)], F16, Q8)
    assert comparable(results).problem is None
    assert len(comparable(results).records) == 2


def test_more_windows_than_there_are_is_the_whole_text() -> None:
    found = with_artifacts([base(), quality(n_chunks_asked=100)], F16, Q8)
    assert comparable(found).problem is None


def test_what_was_also_scored_without_a_reference_counts_once() -> None:
    alone = quality(reference_sha256=None, divergence=None)
    results = with_artifacts([quality(), alone], Q8)
    assert comparable(results).records == {(Q8.sha256, F16_CACHE): quality()}
    assert quality_table(results).count("| Q8_0") == 1
    assert comparable(with_artifacts([alone], Q8)).records == {(Q8.sha256, F16_CACHE): alone}


def test_the_table() -> None:
    failed = quality(
        "4" * 64,
        status="failed",
        perplexity=None,
        divergence=None,
        error=Failure(kind="abort", message="GGML_ASSERT | failed"),
    )
    lines = quality_table(with_artifacts([quality(), failed, base()], F16, Q8, Q4)).splitlines()
    assert lines[0] == "## tiny (940.0K), quality on corpus.txt (aaaaaaaa)"
    assert lines[2] == "20 tokens scored, the second halves of 3 windows of 16; ± standard error"
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[4:9]]
    assert rows[0] == ["level", "bpw", "file", "perplexity", "ratio", "KLD", "90 %", "99 %", "max", "same top",
                       "Δp RMS"]  # fmt: skip
    assert [row[0] for row in rows[2:]] == ["F16", "Q8_0", "Q4_0"]
    assert rows[2][4:] == ["1", "0", "", "", "", "", ""]
    assert rows[3][5:9] == ["0.0200 ± 0.0023", "0.03", "0.03", "0.03"]
    assert rows[3][9] == "75.0 ± 9.9 %"
    assert rows[4][3:5] == ["FAILED", ""]
    assert "- Q4_0 failed: GGML_ASSERT \\| failed" in lines
    assert "- against F16 (sha256 11111111…) with an f16 KV cache;" in lines


def test_the_table_names_kv_caches_where_there_are_several() -> None:
    cached = [quality(F16.sha256, type_k=kind, type_v=kind) for kind in ("q4_0", "q8_0")]
    lines = quality_table(with_artifacts([*cached, quality(), base()], F16, Q8)).splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    assert rows[0][:3] == ["level", "KV cache", "bpw"]
    assert [row[:2] for row in rows[2:]] == [["F16", "f16/f16"], ["F16", "q8_0/q8_0"], ["F16", "q4_0/q4_0"],
                                             ["Q8_0", "f16/f16"]]  # fmt: skip
    assert [row[6] for row in rows[2:4]] == ["0", "0.0200 ± 0.0023"]  # a reference's own cache costs something


def test_results_of_quality_alone_show_its_table_alone() -> None:
    assert table_of(with_artifacts([base()], F16)).startswith("## tiny (940.0K), quality on")
    with_speed = with_artifacts([base()], F16)
    with_speed.rounds = [a_round(cell=cell(F16.sha256))]
    assert [line.partition(",")[0] for line in table_of(with_speed).splitlines() if line.startswith("## ")] == [
        "## tiny (940.0K)",
        "## tiny (940.0K)",
    ]
    assert "quality" not in table_of(with_artifacts([]))


def test_a_results_file_keeps_the_last_record_of_each_measurement(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    failed = quality(status="failed", perplexity=None, divergence=None)
    other, cached = quality(text_sha256="b" * 64), quality(type_v="q8_0")
    with ResultsWriter(path) as writer:
        for record in (ENVIRONMENT, F16, Q8, failed, other, cached, quality()):
            writer.write(record)
    assert read_results([path]).qualities == [quality(), other, cached]


def test_a_record_without_kv_cache_types_is_of_an_f16_cache(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsWriter(path) as writer:
        for record in (ENVIRONMENT, F16, Q8, quality()):
            writer.write(record)
    path.write_text(path.read_text().replace(',"type_k":"f16","type_v":"f16"', ""))
    assert "type_k" not in path.read_text()
    assert read_results([path]).qualities == [quality()]


def test_a_record_of_an_unknown_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    with ResultsWriter(path) as writer:
        writer.write(quality())
    with pytest.raises(UserError, match="no line that describes it"):
        read_results([path])


def adaptive(sha256: str = Q8.sha256, n: int = 4, **changes: Any) -> QualityRecord:
    """A pick's record of n windows."""
    return quality(sha256, adaptive=True, n_chunks_asked=n, n_chunks=n, **changes)


def test_a_pick_s_records_count_with_their_most_windows_whatever_their_numbers() -> None:
    results = with_artifacts([adaptive(), adaptive(n=8), adaptive(F16.sha256)], F16, Q8)
    found = comparable(results)
    assert found.problem is None
    assert {sha256[0]: record.n_chunks for (sha256, _), record in found.records.items()} == {"8": 8, "1": 4}
    table = quality_table(results)
    assert table.count("## ") == 1
    assert "4 to 8 windows" in table


def test_a_pick_s_records_give_way_to_whole_ones() -> None:
    results = with_artifacts([adaptive(), quality(), base()], F16, Q8)
    assert comparable(results).records[Q8.sha256, F16_CACHE].n_chunks == 3
    assert comparable(results).problem is None
