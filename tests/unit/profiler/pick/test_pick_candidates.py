"""Which levels take part, before anything is made."""

from pathlib import Path

from profiler.pick.candidates import Rules, candidates_of_files
from quant.sources.prepare import Prepared
from tests.support.cells import artifact, config

CONFIGS = [config(n_threads=n, n_threads_batch=n) for n in (1, 2)]


def file(sha256: str, level: str, tensor_bytes: int) -> Prepared:
    facts = artifact(sha256 * 64, level=level, tensor_bytes=tensor_bytes)
    return Prepared(artifact=facts, path=Path(f"{sha256}.gguf"))


def test_of_files_that_are_there_those_that_do_not_fit_are_dropped() -> None:
    files = [file("a", "Q8_0", 1 << 20), file("b", "F16", 4 << 30), file("c", "Q4_0", 1 << 19)]
    found = candidates_of_files(files, CONFIGS, Rules(levels=None, available_bytes=1 << 30), {"a" * 64: 7})
    assert [each.key for each in found.entries] == ["Q8_0 t1", "Q8_0 t2", "Q4_0 t1", "Q4_0 t2"]
    assert [each.memory_bytes for each in found.entries] == [7, 7, None, None]
    assert found.entries[2].bpw == files[2].artifact.bpw
    (dropped,) = found.dropped
    assert dropped.level == "F16"
    assert "1.00 GiB are available" in dropped.why
    forced = candidates_of_files(files, CONFIGS, Rules(levels=None, available_bytes=1 << 30, force=True), {})
    assert forced.dropped == ()


def test_two_files_of_one_level_both_take_part() -> None:
    files = [file("a", "Q4_0", 1 << 20), file("b", "Q4_0", 1 << 20)]
    found = candidates_of_files(files, CONFIGS[:1], Rules(levels=None, available_bytes=1 << 30), {})
    assert [each.key for each in found.entries] == ["Q4_0 aaaaaa t1", "Q4_0 bbbbbb t1"]
    assert [each.artifact.sha256[0] for each in found.files.values()] == ["a", "b"]
