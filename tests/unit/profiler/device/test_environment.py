"""The environment of a run: the same machine has one id, another machine another, and nobody is named in it."""

import os
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from profiler.device import environment as module
from profiler.device.environment import available_memory_bytes, cores_of_kind, physical_cores, read_environment
from profiler.device.llama_build import BackendFacts
from profiler.device.os.machine import Machine
from profiler.records.environment import CoreKind, Device, Environment
from quant.base.errors import UserError

FACTS = BackendFacts(
    binding_version="0.3.36",
    llama_commit="c0ffee0",
    threading="openmp",
    backends=("CPU",),
    devices=(Device(name="CPU", description="Cortex-A76", kind="cpu", memory_bytes=8 << 30),),
    cpu_features=("NEON", "DOTPROD"),
)
MACHINE = Machine(
    board="Raspberry Pi 5 Model B Rev 1.0",
    cpu_name="Arm Cortex-A76",
    cores_physical=4,
    cores_logical=4,
    core_kinds=(CoreKind(name="all", cpus=(0, 1, 2, 3), max_mhz=2400.0),),
    memory_bytes=8 << 30,
    page_bytes=16384,
    governor="ondemand",
)
HYBRID = (CoreKind(name="performance", cpus=(0, 1)), CoreKind(name="efficiency", cpus=(2, 3)))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a machine in the place of this one; variables that rule threads are gone."""
    for name in list(os.environ):
        if name.startswith(("OMP_", "GOMP_", "KMP_", "GGML_")):
            monkeypatch.delenv(name)

    def put(machine: Machine = MACHINE, available: int = 5) -> None:
        system = SimpleNamespace(describe=lambda: machine, available_bytes=lambda: available)
        monkeypatch.setattr(module, "this_system", lambda: system)

    put()
    return put


# A value that differs from the one read above, for every field of the record.
OTHER: dict[str, Any] = {
    "schema": 2,
    "system": "Plan9",
    "system_release": "0",
    "machine": "riscv64",
    "board": None,
    "cpu_model": "Arm Cortex-A72",
    "cpu_features": ("NEON",),
    "cores_physical": 2,
    "cores_logical": 8,
    "core_kinds": HYBRID,
    "affinity": (0, 1),
    "cpu_quota": 1.5,
    "memory_bytes": 4 << 30,
    "memory_limit_bytes": 1 << 30,
    "page_bytes": 4096,
    "huge_pages": "always",
    "governor": "performance",
    "turbo": True,
    "power_mode": "nvpmodel 15W",
    "thread_variables": {"OMP_NUM_THREADS": "1"},
    "binding_version": "0.3.35",
    "llama_commit": "decade0",
    "threading": "ggml",
    "backends": ("CPU", "CUDA0"),
    "devices": (),
}


def test_the_same_machine_has_the_same_id(here: Any) -> None:
    first = read_environment(FACTS)
    assert first == read_environment(FACTS)
    assert first.id == read_environment(FACTS).id
    assert len(first.id) == 12
    assert int(first.id, 16) >= 0


def test_the_id_survives_the_results_file(here: Any) -> None:
    first = read_environment(FACTS)
    assert msgspec.json.decode(msgspec.json.encode(first), type=Environment).id == first.id


def test_every_field_has_another_value_below() -> None:
    assert set(OTHER) == set(Environment.__struct_fields__)


@pytest.mark.parametrize("field", Environment.__struct_fields__)
def test_the_id_changes_with_each_field(here: Any, field: str) -> None:
    first = read_environment(FACTS)
    assert getattr(first, field) != OTHER[field]
    assert msgspec.structs.replace(first, **{field: OTHER[field]}).id != first.id


def test_what_is_measured_while_it_runs_is_no_part_of_the_id(here: Any) -> None:
    first = read_environment(FACTS).id
    here(available=1 << 20)
    assert read_environment(FACTS).id == first


def test_nobody_and_no_place_is_named(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("USER", "LOGNAME", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "janedoe")
    monkeypatch.setenv("HOME", "/home/janedoe")
    monkeypatch.setenv("GGML_BACKEND_PATH", "/home/janedoe/lib/libggml-cpu.so")
    monkeypatch.setenv("OMP_TOOL_LIBRARIES", "C:\\Users\\janedoe\\tool.dll")
    monkeypatch.setattr(platform, "node", lambda: "janedoes-laptop")
    text = msgspec.json.encode(read_environment(FACTS)).decode()
    assert "GGML_BACKEND_PATH" in text
    assert "janedoe" not in text
    assert "/" not in text
    assert "\\" not in text


def test_variables_that_rule_threads_are_kept_and_paths_only_told_apart(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "0-3")
    monkeypatch.setenv("GGML_NO_BACKTRACE", "1")  # set by this program itself
    monkeypatch.setenv("PATH_OF_OMP", "x")
    assert read_environment(FACTS).thread_variables == {"GOMP_CPU_AFFINITY": "0-3", "OMP_NUM_THREADS": "2"}
    monkeypatch.setenv("GGML_BACKEND_PATH", "/a/b.so")
    one = read_environment(FACTS)
    monkeypatch.setenv("GGML_BACKEND_PATH", "/a/c.so")
    assert read_environment(FACTS).id != one.id


def test_a_cpu_without_a_name_of_its_own_is_asked_of_cpuinfo_once(
    here: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import cpuinfo

    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path))
    answers = iter([{"brand_raw": "AMD  EPYC 7763 "}])
    monkeypatch.setattr(cpuinfo, "get_cpu_info", lambda: next(answers))
    here(msgspec.structs.replace(MACHINE, cpu_name=None))
    assert read_environment(FACTS).cpu_model == "AMD EPYC 7763"
    assert read_environment(FACTS).cpu_model == "AMD EPYC 7763"


@pytest.mark.parametrize(
    ("changes", "cores"),
    [
        ({}, 4),
        ({"affinity": (0, 2)}, 2),
        ({"affinity": (0, 1, 2, 3, 4, 5)}, 4),
        ({"cpu_quota": 2.9}, 2),
        ({"cpu_quota": 0.5}, 1),
        ({"cpu_quota": 64.0}, 4),
        ({"cores_physical": 0}, 1),
    ],
)
def test_cores_that_can_be_used(here: Any, changes: dict[str, Any], cores: int) -> None:
    here(msgspec.structs.replace(MACHINE, **changes))
    assert physical_cores() == cores


def test_the_fast_cores(here: Any) -> None:
    with pytest.raises(UserError, match="of one kind"):
        cores_of_kind("fast")
    here(msgspec.structs.replace(MACHINE, core_kinds=HYBRID))
    assert cores_of_kind("fast") == (0, 1)
    with pytest.raises(UserError, match="'slow'"):
        cores_of_kind("slow")


@pytest.mark.parametrize(("affinity", "cores"), [((1, 2), (1,)), ((0, 1), (0, 1)), ((0,), (0,))])
def test_the_fast_cores_are_those_that_may_be_used(
    here: Any, affinity: tuple[int, ...], cores: tuple[int, ...]
) -> None:
    here(msgspec.structs.replace(MACHINE, core_kinds=HYBRID, affinity=affinity))
    assert cores_of_kind("fast") == cores


def test_no_fast_core_may_be_used(here: Any) -> None:
    here(msgspec.structs.replace(MACHINE, core_kinds=HYBRID, affinity=(2, 3)))
    with pytest.raises(UserError, match="no fast core"):
        cores_of_kind("fast")


def test_available_memory_is_the_systems(here: Any) -> None:
    here(available=123)
    assert available_memory_bytes() == 123


def test_this_machine_reads_the_same_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "_cpu_model", lambda: "some CPU")
    assert read_environment(FACTS).id == read_environment(FACTS).id
