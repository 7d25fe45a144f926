"""Each flag where it belongs and not where it does not; the text has the number, the cause and what to try."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from profiler.analysis.flags import FLAGS, flags_of
from profiler.records.environment import Environment
from profiler.records.round import Conditions, Memory, Round
from tests.support.rounds import MIB, a_round, sample, with_cell
from tests.support.summaries import environment


def flags(rounds: Sequence[Round], around: Environment | None = None) -> dict[str, str]:
    return {warning.name: warning.message for warning in flags_of(rounds, around or environment())}


def around(before: dict[str, Any], after: dict[str, Any], *, n_rounds: int = 1, **times: Any) -> list[Round]:
    """Rounds of one repetition with these conditions before and after it."""
    return [
        a_round(index, sample(before=Conditions(**before), after=Conditions(**after), **times))
        for index in range(n_rounds)
    ]


def decodes(*steps_ms: float) -> list[Round]:
    """Rounds in this order of time, each of four decode steps; their prefills are all equal."""
    return [a_round(index, sample(decode_ms=(step,) * 4)) for index, step in enumerate(steps_ms)]


def assert_says(message: str, *words: str) -> None:
    assert "\n" not in message
    for word in words:
        assert word in message


def test_rounds_without_disturbance_have_no_flag() -> None:
    calm = {
        "mhz": 2400.0,
        "throttle_count": 7,
        "steal_ns": 1000,
        "busy_ns": 10**12,
        "process_cpu_ns": 10**9,
        "major_faults": 3,
        "swap_used_bytes": 5 * MIB,
    }
    assert flags(around(calm, calm, n_rounds=6)) == {}


def test_no_rounds_have_no_flag() -> None:
    assert flags_of([], environment()) == []


def test_what_the_system_does_not_tell_raises_nothing() -> None:
    assert flags([a_round(index) for index in range(6)]) == {}


def test_flags_stand_in_their_order() -> None:
    rounds = [
        with_cell(record, n_threads=9)
        for record in around({"major_faults": 0}, {"major_faults": 1, "throttle": ("capped",)}, n_rounds=6)
    ]
    assert list(flags(rounds)) == ["throttled", "paging", "oversubscribed"]
    assert FLAGS == (
        "throttled",
        "drifting",
        "swapping",
        "noisy",
        "busy",
        "paging",
        "oversubscribed",
        "starved",
        "ignored",
    )


def test_throttled_a_flag_of_the_system() -> None:
    rounds = around({}, {}) + around({"throttle": ("under-voltage",)}, {"throttle": ("capped",)}, n_rounds=2)
    message = flags(rounds)["throttled"]
    assert_says(
        message, "capped, under-voltage", "2 of 2 repetitions in 2 of 3 rounds", "cool the device", "--cooldown 30s"
    )


def test_throttled_events_that_the_cpu_counted() -> None:
    rounds = around({"throttle_count": 10}, {"throttle_count": 12}, n_rounds=2)
    assert_says(flags(rounds)["throttled"], "4 thermal events", "cool the device")


@pytest.mark.parametrize(("mhz", "throttled"), [(2161.0, False), (2160.0, False), (2159.0, True)])
def test_throttled_a_clock_that_fell_by_more_than_a_tenth(mhz: float, throttled: bool) -> None:
    found = flags(around({}, {"mhz": 2400.0}) + around({}, {"mhz": mhz}))
    assert ("throttled" in found) is throttled
    if throttled:
        assert_says(found["throttled"], "from 2400 to 2159 MHz", "cool the device")


def test_throttled_a_clock_that_is_low_between_repetitions_is_only_idle() -> None:
    assert flags(around({"mhz": 600.0}, {"mhz": 2400.0}, n_rounds=3)) == {}


def test_drifting_a_decode_that_slows_down() -> None:
    # A line through the logarithms falls by 0.2517 over five steps: exp(-0.2517) = 0.777.
    message = flags(decodes(25, 25.5, 26, 29, 30.5, 31.25))["drifting"]
    assert_says(message, "decode fell by 22%", "warms up", "--cooldown 30s")


def test_drifting_a_prefill_that_becomes_faster() -> None:
    rounds = [a_round(index, sample(prefill_ms=60 - 2 * index)) for index in range(6)]
    assert_says(flags(rounds)["drifting"], "prefill rose by")


def test_drifting_what_moves_little_is_no_drift() -> None:
    assert flags(decodes(25, 25.1, 25.2, 25.3, 25.4, 25.5)) == {}  # all six rise, by 1.6 %


def test_drifting_what_moves_to_and_fro_is_no_drift() -> None:
    assert "drifting" not in flags(decodes(25, 27, 25.5, 26.5, 25.2, 27.1))


def test_drifting_four_rounds_are_too_few_to_tell() -> None:
    assert "drifting" not in flags(decodes(20, 25, 30, 35))  # chance does it in 2 of 24 orders


def test_drifting_the_order_of_time_counts_and_not_the_number_of_the_round() -> None:
    steps = (25, 25.5, 26, 29, 30.5, 31.25)
    shuffled = [a_round(index, sample(decode_ms=(step,) * 4), order=order)
                for index, (order, step) in enumerate(zip((3, 0, 5, 1, 4, 2), steps, strict=True))]  # fmt: skip
    assert "drifting" not in flags(shuffled)
    in_time = [a_round(5 - index, sample(decode_ms=(step,) * 4), order=index) for index, step in enumerate(steps)]
    assert "fell" in flags(list(reversed(in_time)))["drifting"]


@pytest.mark.parametrize(("swap_bytes", "swapping"), [(MIB, False), (MIB + 1, True), (3 * MIB, True)])
def test_swapping_a_worker_that_lies_in_swap(swap_bytes: int, swapping: bool) -> None:
    found = flags([a_round(memory={"decoded": Memory(swap_bytes=swap_bytes)})])
    assert ("swapping" in found) is swapping
    if swapping:
        assert_says(found["swapping"], "MiB of the worker", "memory is short", "close programs", "--n-ctx")


def test_swapping_swap_that_grows() -> None:
    found = flags(around({"swap_used_bytes": 0}, {"swap_used_bytes": 2 * MIB}, n_rounds=3))
    assert_says(found["swapping"], "swap grew by 6.0 MiB", "memory is short", "close programs")


def test_swapping_swap_that_was_full_before_is_nobodys_fault() -> None:
    assert flags(around({"swap_used_bytes": 900 * MIB}, {"swap_used_bytes": 899 * MIB})) == {}


def test_noisy_rounds_that_lie_far_apart() -> None:
    # Rates 40, 50, 40, 50: quartiles 40 and 50, median 45.
    assert_says(flags(decodes(25, 20, 25, 20))["noisy"], "decode", "22%", "other programs", "--rounds")


def test_noisy_one_outlier_is_no_noise() -> None:
    assert flags(decodes(25, 25, 25, 50, 25, 25)) == {}


def test_noisy_three_rounds_are_too_few_to_tell() -> None:
    assert flags(decodes(20, 40, 20)) == {}


def busy(other_ns: int, **more: int) -> dict[str, str]:
    # One repetition of 2 s, of which the worker itself computes 4 s on two CPUs.
    before = {"busy_ns": 10**12, "process_cpu_ns": 5, "steal_ns": 70}
    after = {
        "busy_ns": 10**12 + 4 * 10**9 + other_ns,
        "process_cpu_ns": 5 + 4 * 10**9,
        "steal_ns": 70 + more.get("stolen_ns", 0),
    }
    return flags(around(before, after, prefill_ms=1000, decode_ms=(250,) * 4))


def test_busy_other_programs() -> None:
    message = busy(other_ns=10**9)["busy"]
    assert_says(message, "other programs used 50% of one CPU", "close them")
    assert "stolen" not in message


def test_busy_a_host_that_steals() -> None:
    assert_says(busy(other_ns=0, stolen_ns=500_000_000)["busy"], "25% of one CPU", "25% stolen by the host")


def test_busy_a_tenth_of_a_cpu_is_let_pass() -> None:
    assert busy(other_ns=200_000_000) == {}
    assert "busy" in busy(other_ns=201_000_000)


@pytest.mark.parametrize(("other_ms", "is_busy"), [(0, False), (30, False), (31, True), (160, True)])
def test_busy_in_short_times_counts_from_three_ticks_of_the_counters(other_ms: int, is_busy: bool) -> None:
    # One repetition of 160 ms, of which the worker computes all on one CPU.
    own = {"busy_ns": 160_000_000 + other_ms * 1_000_000, "process_cpu_ns": 160_000_000}
    found = flags(around({"busy_ns": 0, "process_cpu_ns": 0}, own))
    assert ("busy" in found) is is_busy
    if other_ms == 160:
        assert_says(found["busy"], "100% of one CPU")


def test_busy_is_a_share_of_the_time_between_the_readings() -> None:
    # 160 ms of timed steps, between readings that lie a second apart in each of six rounds.
    before = {"busy_ns": 0, "process_cpu_ns": 0, "clock_ns": 5}
    after = {"busy_ns": 160_000_000 + 200_000_000, "process_cpu_ns": 160_000_000, "clock_ns": 5 + 10**9}
    assert_says(flags(around(before, after, n_rounds=6))["busy"], "used 20% of one CPU")


def test_paging_pages_read_from_disk() -> None:
    message = flags(around({"major_faults": 100}, {"major_faults": 121}, n_rounds=2))["paging"]
    assert_says(message, "42 pages were read from disk", "do not stay in memory", "smaller level", "--load-mode")


def test_paging_pages_read_before_the_measurement_do_not_count() -> None:
    assert flags(around({"major_faults": 5000}, {"major_faults": 5000})) == {}


@pytest.mark.parametrize(
    ("machine", "cell", "words"),
    [
        ({}, {"n_threads": 5}, "5 threads on 4 physical cores"),
        ({}, {"n_threads_batch": 8}, "8 threads on 4 physical cores"),
        ({"affinity": (0, 1)}, {"n_threads": 3}, "3 threads on 2 CPUs that this process may use"),
        ({}, {"n_threads": 2, "cores": (3,)}, "2 threads on 1 core chosen with --cores"),
        ({"cpu_quota": 1.5}, {"n_threads": 2}, "2 threads on a limit of 1.5 CPUs"),
        ({"cores_physical": 1}, {"n_threads": 2}, "2 threads on 1 physical core "),
    ],
)
def test_oversubscribed_more_threads_than_cores(machine: dict[str, Any], cell: dict[str, Any], words: str) -> None:
    found = flags([with_cell(a_round(), **cell)], environment(**machine))
    assert_says(found["oversubscribed"], words, "must wait for a turn", "fewer with -t")


@pytest.mark.parametrize(
    ("machine", "cell"),
    [
        ({}, {"n_threads": 4, "n_threads_batch": 4}),
        ({"cores_logical": 8, "affinity": tuple(range(8))}, {"n_threads": 4}),
        ({"cpu_quota": 2.0}, {"n_threads": 2}),
        ({}, {"n_threads": 2, "cores": (2, 3)}),
    ],
)
def test_oversubscribed_as_many_threads_as_there_are(machine: dict[str, Any], cell: dict[str, Any]) -> None:
    assert flags([with_cell(a_round(), **cell)], environment(**machine)) == {}


def test_oversubscribed_two_threads_of_one_core_are_one_core() -> None:
    record = with_cell(a_round(), n_threads=2, cores=(0, 1))
    assert record.in_force is not None
    assert flags([record]) == {}
    in_force = msgspec.structs.replace(record.in_force, n_cores=1)
    found = flags([msgspec.structs.replace(record, in_force=in_force)])
    assert_says(found["oversubscribed"], "2 threads on 1 core chosen with --cores")


def test_oversubscribed_a_container_with_less_than_one_cpu() -> None:
    found = flags([a_round()], environment(cpu_quota=0.5))
    assert_says(found["oversubscribed"], "1 thread on a limit of 0.5 CPUs", "raise the container's limit")


def test_oversubscribed_without_the_environments_line_nothing_is_claimed() -> None:
    assert flags_of([with_cell(a_round(), n_threads=99)], None) == []
