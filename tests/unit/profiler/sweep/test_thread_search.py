"""The search of -t auto on synthetic devices, its bounds, and what is kept. All noise is seeded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from profiler.measure.worker import Answer, Job
from profiler.records.environment import CoreKind
from profiler.records.failure import Failure
from profiler.sweep.grid import Axes, read_sweep
from profiler.sweep.thread_choice import ThreadChooser, check_axes, has_auto, resolved
from profiler.sweep.thread_search import (
    AUTO,
    MeasureError,
    ThreadChoice,
    ThreadLimits,
    Trial,
    describe,
    search_threads,
    thread_limits,
)
from quant.base.errors import UserError
from quant.sources.prepare import Prepared
from tests.support.cells import artifact, script
from tests.support.curves import DEVICES, Device, loss
from tests.support.scripted_worker import work
from tests.support.summaries import environment

SEEDS = range(40)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", ["prefill", "decode"])
def test_the_choice_is_within_3_percent_of_the_best_of_all(device: str, kind: str) -> None:
    limits, curves = DEVICES[device]
    for seed in SEEDS:
        choice = search_threads(Device(curves, seed), limits)
        chosen = choice.n_threads if kind == "decode" else choice.n_threads_batch
        assert loss(curves[kind], limits.most, chosen) <= 0.03, seed


@pytest.mark.parametrize("name", ["big.LITTLE 4+4", "eight cores", "hybrid 8P+12E", "hybrid, even shares"])
def test_fewer_counts_are_tried_than_there_are_and_fewer_rounds_than_a_sweep_takes(name: str) -> None:
    limits, curves = DEVICES[name]
    for seed in SEEDS:
        device = Device(curves, seed)
        search_threads(device, limits)
        assert len(set(device.measured)) < 2 * limits.most
        assert len(device.measured) < 2 * limits.most * 3  # a sweep of three rounds, which has no interval yet


def test_prefill_and_decode_differ_where_the_device_makes_them_differ() -> None:
    limits, curves = DEVICES["big.LITTLE 4+4"]
    choice = search_threads(Device(curves, seed=1), limits)
    assert (choice.n_threads, choice.n_threads_batch) == (4, 8)


def test_nothing_beyond_the_limit_is_ever_measured() -> None:
    for most in (1, 2, 3, 5, 7):
        device = Device({"prefill": float, "decode": float}, seed=1)
        assert search_threads(device, ThreadLimits(most, most)).n_threads == most
        assert max(n_threads for n_threads, _ in device.measured) == most


def test_fewer_threads_win_a_tie() -> None:
    flat = Device({"prefill": lambda n: 100.0, "decode": lambda n: 100.0}, seed=1, noise=0.0)
    assert search_threads(flat, ThreadLimits(8, 8)).n_threads == 1


def test_without_noise_nothing_is_measured_twice() -> None:
    limits, curves = DEVICES["big.LITTLE 4+4"]
    device = Device(curves, seed=1, noise=0.0)
    search_threads(device, limits)
    assert len(set(device.measured)) == len(device.measured)


def test_only_the_kind_that_is_requested_is_measured() -> None:
    limits, curves = DEVICES["eight cores"]
    device = Device(curves, seed=1)
    choice = search_threads(device, limits, ["prefill"])
    assert (choice.n_threads, choice.n_threads_batch) == (1, 8)
    assert {kind for _, kind in device.measured} == {"prefill"}


FOUR_AND_FOUR = (
    CoreKind(name="performance", cpus=(4, 5, 6, 7), max_mhz=2400.0),
    CoreKind(name="efficiency", cpus=(0, 1, 2, 3), max_mhz=1800.0),
)


@pytest.mark.parametrize(
    ("changes", "cores", "limits"),
    [
        ({}, None, ThreadLimits(4, 4)),
        ({"cores_physical": 8, "cores_logical": 8, "core_kinds": FOUR_AND_FOUR}, None, ThreadLimits(8, 4)),
        ({"cores_physical": 8, "cores_logical": 8, "core_kinds": FOUR_AND_FOUR}, (3, 4, 5), ThreadLimits(3, 2)),
        ({"cores_physical": 8, "cores_logical": 8, "core_kinds": FOUR_AND_FOUR}, (0, 1), ThreadLimits(2, 2)),
        ({"affinity": (1, 2)}, None, ThreadLimits(2, 2)),
        ({"affinity": (1, 2)}, (1,), ThreadLimits(1, 1)),
        ({"cpu_quota": 2.5}, None, ThreadLimits(2, 2)),
        ({"cpu_quota": 0.5}, None, ThreadLimits(1, 1)),
    ],
)
def test_the_limits_are_cores_affinity_quota_and_what_was_bound(
    changes: dict[str, Any], cores: tuple[int, ...] | None, limits: ThreadLimits
) -> None:
    assert thread_limits(environment(**changes), cores) == limits


def test_two_threads_of_one_core_are_one_core() -> None:
    two_threads_each = environment(cores_physical=4, cores_logical=8, affinity=(0, 1, 2, 3))
    assert thread_limits(two_threads_each, None, lambda cpus: len({cpu // 2 for cpu in cpus})) == ThreadLimits(2, 2)


def test_what_was_tried_is_written_as_a_small_table() -> None:
    tried = (
        Trial("prefill", 1, (100.0,)),
        Trial("prefill", 4, (350.0, 352.0, 351.0)),
        Trial("decode", 1, (20.0,)),
        Trial("decode", 2, (31.257,)),
    )
    assert describe(ThreadChoice(2, 4, tried), "tiny Q8_0", ThreadLimits(4, 4)) == [
        "threads of tiny Q8_0: 4 for the prefill and 2 for the decode, of at most 4",
        "  threads        1       2     4",
        "  prefill t/s  100       -   351*",
        "  decode t/s    20   31.26*    -",
    ]


def test_auto_stands_for_both_or_for_one_of_them() -> None:
    choice = ThreadChoice(4, 8)

    def pairs(**lists: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
        axes = resolved(Axes(**lists), choice)
        return axes.threads, axes.threads_batch

    assert pairs(threads=(AUTO,)) == ((4,), (8,))
    assert pairs(threads=(AUTO,), threads_batch=(2,)) == ((4,), (2,))
    assert pairs(threads=(1, 2), threads_batch=(AUTO,)) == ((1, 2), (8,))
    assert pairs(threads=(1, 2)) == ((1, 2), ())
    assert has_auto(Axes(threads=(AUTO,)))
    assert not has_auto(Axes(threads=(1,)))
    check_axes(Axes(threads=(AUTO,)), zipped=False)


def test_a_sweep_file_may_say_auto_but_not_zero(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('[[sweep]]\nthreads = "auto"\nthreads-batch = [2]\n', encoding="utf-8")
    (axes,) = read_sweep(path, Axes(threads=(1,)))
    assert (axes.threads, axes.threads_batch) == ((AUTO,), (2,))
    path.write_text("[[sweep]]\nthreads = [0]\n", encoding="utf-8")
    with pytest.raises(UserError, match="threads must be from 1 to 512, or auto"):
        read_sweep(path, Axes(threads=(1,)))


class Workers:
    """Workers on the scripted engine, and their jobs."""

    def __init__(self, tmp_path: Path, *, fail: bool = False) -> None:
        self.jobs: list[Job] = []
        self.fail = fail
        self._answers: dict[int, Answer] = {}  # by prompt tokens: the scripted engine is as fast with all threads
        self.files = [Prepared(artifact=artifact(), path=script(tmp_path / "model.json"))]

    def chooser(self, **changes: Any) -> ThreadChooser:
        fields: dict[str, Any] = {
            "environment": environment(),
            "run": self._run,
            "available_bytes": lambda: 8 << 30,
        }
        return ThreadChooser(**(fields | changes))

    def _run(self, job: Job) -> Answer:
        self.jobs.append(job)
        if self.fail:
            return Answer(failure=Failure(kind="abort", message="GGML_ASSERT"))
        n_prompt = job.config.n_prompt
        if n_prompt not in self._answers:
            self._answers[n_prompt] = work(job)
        return self._answers[n_prompt]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def counts(cells: Sequence[Any]) -> list[tuple[int, int]]:
    return [(cell.config.n_threads, cell.config.n_threads_batch) for cell in cells]


def test_workers_measure_with_short_counts_and_the_settings_of_the_sweep(tmp_path: Path, reported: list[str]) -> None:
    workers = Workers(tmp_path)
    cells = workers.chooser().cells(Axes(threads=(AUTO,), ctk=("q8_0",), cores=(0, 1)), workers.files, zipped=False)
    assert counts(cells) == [(1, 1)]  # the scripted engine knows no threads: all are a tie
    assert {(job.config.n_prompt, job.config.n_gen) for job in workers.jobs} == {(128, 0), (0, 32)}
    assert {(job.config.type_k, job.config.cores, job.config.mode) for job in workers.jobs} == {
        ("q8_0", (0, 1), "separate")
    }
    assert max(job.config.n_threads for job in workers.jobs) == 2
    assert reported[:2] == [
        "choosing the threads of tiny Q8_0",
        "threads of tiny Q8_0: 1 for the prefill and 1 for the decode, of at most 2",
    ]


def test_the_same_command_again_chooses_the_same_without_measuring(tmp_path: Path, reported: list[str]) -> None:
    workers = Workers(tmp_path)
    first = workers.chooser().cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
    n_jobs = len(workers.jobs)
    again = workers.chooser().cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
    assert (first, len(workers.jobs)) == (again, n_jobs)
    assert any("as chosen before" in line for line in reported)
    for other in ({"fresh": True}, {"environment": environment(llama_commit="c0ffee2")}):
        workers.chooser(**other).cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
        assert len(workers.jobs) > n_jobs
        n_jobs = len(workers.jobs)


def test_a_kept_choice_that_is_broken_or_out_of_bounds_is_made_again(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    workers.chooser().cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
    (kept,) = (tmp_path / "cache" / "threads").iterdir()
    for text in ("", "{}", '{"n_threads": 64, "n_threads_batch": 1, "tried": []}', '{"n_threads": 1'):
        kept.write_text(text, encoding="utf-8")
        n_jobs = len(workers.jobs)
        workers.chooser().cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
        assert len(workers.jobs) > n_jobs


def test_where_only_one_thread_may_run_nothing_is_measured(tmp_path: Path, reported: list[str]) -> None:
    workers = Workers(tmp_path)
    cells = workers.chooser().cells(Axes(threads=(AUTO,), cores=(2,)), workers.files, zipped=False)
    assert counts(cells) == [(1, 1)]
    assert workers.jobs == []
    assert reported == ["threads of tiny Q8_0: 1, since this process may use one core only"]


def test_two_sweeps_over_one_file_choose_once(tmp_path: Path) -> None:
    workers = Workers(tmp_path)
    chooser = workers.chooser(fresh=True)
    chooser.cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
    n_jobs = len(workers.jobs)
    chooser.cells(Axes(threads=(AUTO,), workload=("chat",)), workers.files, zipped=False)
    assert len(workers.jobs) == n_jobs


@pytest.mark.parametrize("why", [{"fail": True}, {"available_bytes": 1000}])
def test_a_file_that_cannot_be_measured_still_becomes_cells_and_is_not_kept(
    tmp_path: Path, reported: list[str], why: dict[str, Any]
) -> None:
    workers = Workers(tmp_path, fail="fail" in why)
    changes = {"available_bytes": lambda: 1000} if "available_bytes" in why else {}
    cells = workers.chooser(**changes).cells(Axes(threads=(AUTO,)), workers.files, zipped=False)
    assert counts(cells) == [(4, 4)]
    assert reported[-1].startswith("cannot choose the threads of tiny Q8_0, using 4: ")
    assert not (tmp_path / "cache" / "threads").exists()


def test_a_measurement_that_fails_ends_the_search() -> None:
    def refuse(n_threads: int, kind: str) -> Sequence[float]:
        raise MeasureError("no")

    with pytest.raises(MeasureError):
        search_threads(refuse, ThreadLimits(4, 4))
