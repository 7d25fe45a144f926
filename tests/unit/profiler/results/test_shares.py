"""The cells of large results are shared among processes, and nothing of what is found depends on that."""

from pathlib import Path

import pytest

from profiler.analysis.summarise import Summarised, summarise_and_warn, summarise_cell
from profiler.compare.match import Side, side_of
from profiler.results import kept, shares
from profiler.results.file import Results, read_results
from profiler.results.shares import find_in_cells
from quant.base.errors import UserError
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, sample, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT

ROUNDS = [
    with_cell(a_round(number, sample(prefill_ms=60 + number)), n_threads=threads)
    for number in range(3)
    for threads in range(1, 8)
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    failed = with_cell(no_round(3), n_threads=6)
    return write_lines(tmp_path / "results.jsonl", ENVIRONMENT, artifact(), *ROUNDS, failed)


@pytest.fixture(autouse=True)
def three_cpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Share every file among three processes; return a list of the children that were started."""
    started: list[str] = []

    class Counted(shares.Child):
        def __init__(self, module: str) -> None:
            started.append(module)
            super().__init__(module)

    monkeypatch.setattr(kept, "MANY_BYTES", 1)
    monkeypatch.setattr(shares, "usable_cpus", lambda: 3)
    monkeypatch.setattr(shares, "Child", Counted)
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return started


def _in_one_process(path: Path) -> Results:
    results = read_results([path])
    results.key = None
    return results


def test_shares_find_the_same_in_the_same_order(path: Path, three_cpus: list[str]) -> None:
    plain = _in_one_process(path)
    whole = [summarise_cell(*cell) for cell in plain.cells()], [side_of(*cell) for cell in plain.cells()]
    assert [each.summary.config.n_threads for each in whole[0]] == [1, 2, 3, 4, 5, 6, 7]
    results = read_results([path])
    assert find_in_cells(results, Summarised, summarise_cell) == whole[0]
    assert find_in_cells(results, Side, side_of) == whole[1]
    assert len(three_cpus) == 4


def test_small_results_need_no_process(path: Path, three_cpus: list[str]) -> None:
    summarise_and_warn(_in_one_process(path))
    assert not three_cpus


def test_an_error_in_a_share_is_reported_as_without_shares(path: Path, three_cpus: list[str]) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    lines[8] = lines[8].replace(b'"load_ns":1000000000', b'"load_ns":"long"')  # of the last cell, a child's
    path.write_bytes(b"".join(lines))
    with pytest.raises(UserError) as plain:
        summarise_and_warn(_in_one_process(path))
    with pytest.raises(UserError) as shared:
        summarise_and_warn(read_results([path]))
    assert str(shared.value) == str(plain.value)
    assert "line 9 of " in str(shared.value)
    assert len(three_cpus) == 2
