"""Ceilings: what is stored, what is derived from it, how much is read, and how doctor shows it."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from profiler.device.bandwidth_record import READ, Ceiling, KernelRun, keep_ceiling, kept_elsewhere, load_ceiling
from profiler.doctor.ceilings import age_of, ceiling_object, render_ceiling
from profiler.measure.bandwidth import buffer_bytes, last_cache_bytes
from profiler.measure.bandwidth_worker import passes
from quant.base.errors import UserError
from tests.support.systems import CPU, tree

MIB, GIB = 1 << 20, 1 << 30
ENV = "0123456789ab"
NOW = datetime(2025, 1, 3, 12, 0, 0, tzinfo=UTC)


def kernel_run(kernel: str = READ, n_threads: int = 1, *times_ms: int, **changes: object) -> KernelRun:
    fields: dict[str, object] = {"n_bytes": 1_000_000_000, "times_ns": tuple(ms * 1_000_000 for ms in times_ms)}
    return KernelRun(kernel=kernel, n_threads=n_threads, **(fields | changes))  # type: ignore[arg-type]


def ceiling(*runs: KernelRun, measured_at: str = "2025-01-03T11:55:00Z") -> Ceiling:
    return Ceiling(env_id=ENV, measured_at=measured_at, runs=runs)


FULL = ceiling(
    kernel_run(READ, 1, 100, 110, 120),
    kernel_run(READ, 4, 50, 50, 55),
    kernel_run("F16", 1, 200, 200, 210, n_weights=500_000_000, buffer="CPU"),
    kernel_run("F16", 4, 60, 61, 62, n_weights=500_000_000, buffer="CPU"),
    kernel_run("Q4_0", 1, 250, 260, 270, n_weights=1_800_000_000, buffer="CPU_REPACK"),
    kernel_run("Q4_0", 4, 40, 41, 42, n_weights=1_800_000_000, buffer="CPU_REPACK"),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


# --- figures


def test_the_best_pass_is_the_ceiling_and_the_middle_one_stands_beside_it() -> None:
    run = kernel_run(READ, 1, 100, 125, 500)
    assert run.best_bytes_per_s == pytest.approx(10e9)
    assert run.median_bytes_per_s == pytest.approx(8e9)
    assert run.best_flop_per_s is None


def test_a_weight_is_two_operations() -> None:
    assert kernel_run("F16", 1, 200, n_weights=500_000_000).best_flop_per_s == pytest.approx(5e9)


def test_what_any_kernel_reached_is_reachable() -> None:
    assert FULL.read_bytes_per_s(1) == pytest.approx(10e9)  # the plain read
    assert FULL.read_bytes_per_s(4) == pytest.approx(25e9)  # the mat-vec of Q4_0


@pytest.mark.parametrize(("n_threads", "expected"), [(1, 10e9), (2, 25e9), (3, 25e9), (4, 25e9)])
def test_between_measured_counts_the_larger_one_holds(n_threads: int, expected: float) -> None:
    assert FULL.read_bytes_per_s(n_threads) == pytest.approx(expected)


def test_outside_of_the_measured_counts_nothing_is_known() -> None:
    assert FULL.read_bytes_per_s(5) is None
    assert ceiling(kernel_run(READ, 2, 100)).read_bytes_per_s(1) is None
    assert ceiling().read_bytes_per_s(1) is None


# --- what is kept


def test_a_ceiling_of_another_state_of_the_device_is_known_of() -> None:
    assert not kept_elsewhere("here")
    keep_ceiling(FULL)
    assert kept_elsewhere("here")
    assert not kept_elsewhere(ENV)


def test_what_is_kept_is_found_again_by_its_environment() -> None:
    keep_ceiling(FULL)
    assert load_ceiling(ENV) == FULL
    assert load_ceiling("ffffffffffff") is None


BROKEN_RUN = '{"kernel":"read","n_threads":1,"n_bytes":1,"times_ns":TIMES}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"env_id":"0123456789ab","measured_at":"x"}',
        '{"env_id":"ba9876543210","measured_at":"x","runs":[]}',
        f'{{"env_id":"0123456789ab","measured_at":"x","runs":[{BROKEN_RUN.replace("TIMES", "[0]")}]}}',
        f'{{"env_id":"0123456789ab","measured_at":"x","runs":[{BROKEN_RUN.replace("TIMES", "[]")}]}}',
    ],
)
def test_a_broken_file_is_no_ceiling(cache: Path, text: str) -> None:
    (cache / "ceiling").mkdir(parents=True)
    (cache / "ceiling" / f"{ENV}.json").write_text(text)
    assert load_ceiling(ENV) is None


# --- how much is read


def test_the_last_cache_is_the_largest_of_the_first_cpu(tmp_path: Path) -> None:
    sizes = {"index0": "32K", "index1": "32K", "index2": "512K", "index3": "32768K"}
    root = tree(tmp_path, {f"{CPU}/cpu0/cache/{index}/size": text for index, text in sizes.items()})
    assert last_cache_bytes(root) == 32 * MIB
    assert last_cache_bytes(tmp_path / "elsewhere") is None


@pytest.mark.parametrize(
    ("cache_bytes", "available", "expected"),
    [
        (2 * MIB, 8 * GIB, 256 * MIB),  # a Pi 5: far beyond its cache
        (None, 8 * GIB, 256 * MIB),
        (96 * MIB, 64 * GIB, 768 * MIB),  # eight times a large cache
        (2 * MIB, 600 * MIB, 75 * MIB),  # a Pi of 1 GiB: an eighth of what is available
    ],
)
def test_the_buffer_is_beyond_the_cache_and_a_small_part_of_memory(
    cache_bytes: int | None, available: int, expected: int
) -> None:
    assert buffer_bytes(cache_bytes, available) == expected


def test_too_little_memory_is_refused_and_not_measured_in_the_cache() -> None:
    with pytest.raises(UserError, match=r"needs 768.0 MiB of available memory, only 500.0 MiB are free"):
        buffer_bytes(32 * MIB, 500 * MIB)


# --- passes


class Passing:
    """A clock, and work that takes the given times by it."""

    def __init__(self, *times_ns: int) -> None:
        self.now_ns, self.times_ns, self.n_done = 0, times_ns, 0

    def work(self) -> None:
        self.now_ns += self.times_ns[min(self.n_done, len(self.times_ns) - 1)]
        self.n_done += 1

    def clock(self) -> int:
        return self.now_ns


def test_the_first_pass_is_not_counted() -> None:
    passing = Passing(900_000_000, 200_000_000)
    assert passes(passing.work, passing.clock) == (200_000_000,) * 7


def test_short_passes_are_taken_until_they_fill_the_time() -> None:
    passing = Passing(30_000_000)
    assert passes(passing.work, passing.clock) == (30_000_000,) * 20


def test_passes_of_a_second_and_more_are_few() -> None:
    assert passes((slow := Passing(1_000_000_000)).work, slow.clock) == (1_000_000_000,) * 3
    assert passes((slower := Passing(5_000_000_000)).work, slower.clock) == (5_000_000_000,) * 3
    assert len(passes((middling := Passing(600_000_000)).work, middling.clock)) == 5


def test_very_short_passes_end_too() -> None:
    passing = Passing(1)
    assert len(passes(passing.work, passing.clock)) == 50


# --- what doctor shows


def test_the_table_has_a_row_per_thread_count() -> None:
    table = render_ceiling(FULL, NOW, 80)
    assert "5 minutes ago" in table[0]
    assert "3 or more passes" in table[0]
    assert "953.7 MiB" in table[1]
    assert table[table.index("") :] == [
        "",
        "          threads    read     F16    Q8_0    Q4_0    Q4_K    Q5_K    Q6_K",
        "  GB/s          1    10.0     5.0             4.0",
        "                4    25.0    16.7            25.0",
        "  GFLOP/s       1             5.0            14.4",
        "                4            16.7            90.0",
        "",
        "Q4_0: repacked, llama.cpp's default; --no-repack disables it.",
    ]


def test_a_busy_machine_is_reported() -> None:
    table = render_ceiling(ceiling(kernel_run(READ, 1, 60, 100, 100)), NOW, 80)
    assert "40% below the fastest pass" in table[-2]
    assert max(map(len, table)) <= 80


def test_the_object_has_best_and_median() -> None:
    found = ceiling_object(FULL, NOW)
    assert found["age"] == "5 minutes ago"
    assert found["read"] == [
        {"n_threads": 1, "bytes_per_s": 10e9, "median_bytes_per_s": pytest.approx(1e9 / 0.11), "kernel": READ},
        {"n_threads": 4, "bytes_per_s": 25e9, "median_bytes_per_s": pytest.approx(1e9 / 0.041), "kernel": "Q4_0"},
    ]
    assert found["mat_vec"][-1] == {
        "type": "Q4_0",
        "n_threads": 4,
        "bytes_per_s": 25e9,
        "median_bytes_per_s": pytest.approx(1e9 / 0.041),
        "flop_per_s": 90e9,
        "repacked": True,
        "pass_bytes": 1_000_000_000,
    }


@pytest.mark.parametrize(
    ("measured_at", "expected"),
    [
        ("2025-01-03T11:59:30Z", "just now"),
        ("2025-01-03T11:59:00Z", "1 minute ago"),
        ("2025-01-03T10:00:00Z", "2 hours ago"),
        ("2024-12-31T12:00:00Z", "3 days ago"),
        ("2026-01-01T00:00:00Z", "just now"),  # a clock that was set back
        ("yesterday", "at an unknown time"),
    ],
)
def test_the_age_is_in_words(measured_at: str, expected: str) -> None:
    assert age_of(ceiling(measured_at=measured_at), NOW) == expected
