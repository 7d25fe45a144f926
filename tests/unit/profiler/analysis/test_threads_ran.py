"""The flag `starved`: threads that were requested and did not run, and what held them back."""

from typing import Any

import msgspec
import pytest

from profiler.analysis.flags import flags_of
from profiler.analysis.threads_ran import cpus_got, holding_back
from profiler.records.round import Conditions, Memory, Round
from tests.support.rounds import a_round, sample, with_cell
from tests.support.summaries import environment

MS = 1_000_000


def ran(cpus: float, *, prefill_ms: float = 60, decode_ms: float = 25, busy_ns: int = 0, **cell: Any) -> Round:
    """A round of one repetition whose process used so many CPUs over its timed steps."""
    used_ns = round(cpus * (prefill_ms + 4 * decode_ms) * MS)
    after = Conditions(process_cpu_ns=7 + used_ns, busy_ns=busy_ns + used_ns if busy_ns else None)
    before = Conditions(process_cpu_ns=7, busy_ns=0 if busy_ns else None)
    record = a_round(0, sample(prefill_ms=prefill_ms, decode_ms=(decode_ms,) * 4, before=before, after=after))
    return with_cell(record, **cell)


def starved(record: Round, **machine: Any) -> str | None:
    found = {each.name: each.message for each in flags_of([record], environment(**machine))}
    return found.get("starved")


@pytest.mark.parametrize(
    ("cpus", "threads", "flagged"),
    [
        (1.0, 2, True),
        (1.69, 2, True),
        (1.71, 2, False),
        (2.1, 2, False),
        (0.6, 1, True),
        (0.9, 1, False),
        (3.0, 4, True),
    ],
)
def test_threads_that_got_less_than_they_would_use(cpus: float, threads: int, flagged: bool) -> None:
    message = starved(ran(cpus, n_threads=threads, n_threads_batch=threads))
    assert (message is not None) is flagged
    if message:
        assert f"{threads} thread" in message
        assert f"got {cpus:.1f} CPUs" in message


def test_prefill_and_decode_count_with_their_own_threads() -> None:
    # 60 ms of four threads and 100 ms of one: 340 ms of CPU time in 160 ms.
    record = ran(340 / 160, n_threads=1, n_threads_batch=4)
    assert starved(record) is None
    assert cpus_got([record]) == (340 / 160, 340 / 160)
    assert starved(ran(1.0, n_threads=1, n_threads_batch=4)) is not None


@pytest.mark.parametrize("machine", [{"affinity": (0,)}, {"cpu_quota": 1.0}, {"cores_logical": 1, "cores_physical": 1}])
def test_a_limit_that_the_system_reports_is_oversubscription(machine: dict[str, Any]) -> None:
    record = ran(1.0, n_threads=2, n_threads_batch=2)
    assert [each.name for each in flags_of([record], environment(**machine))] == ["oversubscribed"]


def test_too_few_cpus_within_a_limit_are_starvation_too() -> None:
    assert starved(ran(1.0, n_threads=4, n_threads_batch=4), cpu_quota=2.0) is not None


@pytest.mark.parametrize(
    "variables",
    [
        {"OMP_THREAD_LIMIT": "1"},
        {"OMP_DYNAMIC": "TRUE"},
        {"GOMP_CPU_AFFINITY": "0"},
        {"OMP_PLACES": "{0}"},
        {"OMP_PROC_BIND": "close"},
        {"OMP_WAIT_POLICY": "passive"},
        {"OMP_THREAD_LIMIT": "1", "OMP_PLACES": "cores"},
    ],
)
def test_the_variables_that_did_it_are_named(variables: dict[str, str]) -> None:
    message = starved(ran(1.0, n_threads=2, n_threads_batch=2), thread_variables=variables) or ""
    for name, value in variables.items():
        assert f"{name}={value}" in message
    assert f"unset {' '.join(variables)}" in message


@pytest.mark.parametrize(
    ("variables", "threading"),
    [
        ({"OMP_THREAD_LIMIT": "2"}, "openmp"),
        ({"OMP_DYNAMIC": "false"}, "openmp"),
        ({"OMP_PROC_BIND": "false"}, "openmp"),
        ({"OMP_NUM_THREADS": "1"}, "openmp"),  # llama.cpp asks for its own number
        ({"OMP_THREAD_LIMIT": "1"}, "ggml"),
        ({"OMP_THREAD_LIMIT": "words"}, "openmp"),
    ],
)
def test_variables_without_effect_are_not_named(variables: dict[str, str], threading: str) -> None:
    assert holding_back(environment(thread_variables=variables, threading=threading), 2) == {}


def test_other_programs_are_the_cause_where_they_took_the_cpus() -> None:
    assert "other programs" in (starved(ran(1.0, n_threads=2, n_threads_batch=2, busy_ns=160 * MS)) or "")
    assert "not visible" in (starved(ran(1.0, n_threads=2, n_threads_batch=2)) or "")


def test_nothing_is_claimed_without_a_counter_or_on_a_gpu_or_in_no_time() -> None:
    assert cpus_got([a_round()]) is None
    assert starved(ran(0.1, n_threads=4, device="gpu")) is None
    assert cpus_got([ran(0.5, prefill_ms=1.9, decode_ms=2)]) is None


def test_an_accelerator_that_computes_the_prefill_needs_no_threads() -> None:
    record = ran(1.0, n_threads=1, n_threads_batch=4)
    assert record.in_force is not None
    blas = msgspec.structs.replace(record.in_force, backends=("BLAS", "CPU"))
    assert starved(msgspec.structs.replace(record, in_force=blas)) is None


def test_a_setting_that_is_not_in_effect_is_flagged_once() -> None:
    record = a_round()
    assert record.in_force is not None
    record = msgspec.structs.replace(record, in_force=msgspec.structs.replace(record.in_force, ignored=("mlock (no)",)))
    (found,) = flags_of([record, record], environment())
    assert (found.name, found.message.count("mlock (no)")) == ("ignored", 1)


@pytest.mark.parametrize(
    ("setting", "huge_bytes", "flagged"),
    [("always", 0, True), ("always", 2 << 20, False), ("madvise", 0, False), ("always", None, False)],
)
def test_huge_pages_that_are_on_and_not_used(setting: str, huge_bytes: int | None, flagged: bool) -> None:
    record = a_round(memory={"decoded": Memory(anon_bytes=1 << 30, huge_bytes=huge_bytes)})
    assert [each.name for each in flags_of([record], environment(huge_pages=setting))] == ["ignored"] * flagged
