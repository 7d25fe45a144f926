"""How `doctor` writes a diagnosis: 80 columns, and commands that can be copied."""

import shlex
from typing import Any

import msgspec
import pytest

from profiler.device.bandwidth_record import Ceiling, KernelRun
from profiler.device.energy.meter import Meter
from profiler.doctor.diagnosis import to_object
from profiler.doctor.text import render, wrap_command
from profiler.records.environment import CoreKind
from tests.support.findings import CASES, MAC
from tests.support.seen import QUIET, diagnosis, seen


def text(**changes: Any) -> str:
    return render(diagnosis(seen(**changes)))


def test_a_quiet_device() -> None:
    described, _, verdict = render(diagnosis(QUIET)).rstrip("\n").rpartition("\n\n")
    rows = dict(line.split(maxsplit=1) for line in described.splitlines())
    assert list(rows) == ["board", "CPU", "cores", "memory", "system", "llama.cpp", "backends", "features", "threads",
                          "energy", "bandwidth"]  # fmt: skip
    assert rows["memory"] == "8.00 GiB, 6.00 GiB available, pages of 16 KiB"
    assert rows["threads"].startswith("1, 2, 4 ")
    assert rows["energy"] == "none: no sensor is here"
    assert "slmprof doctor --bandwidth" in rows["bandwidth"]
    assert verdict.startswith("Nothing ")


def test_warnings_and_notes() -> None:
    found = text(governor="ondemand", throttle=("under-voltage",), huge_pages="never").splitlines()
    assert found[12].startswith("2 things here")
    assert [line for line in found[13:] if line.startswith("- ")] == [
        "- the system reports under-voltage now",
        "- the frequency governor is ondemand, not performance",
        "- transparent huge pages are set to never",
    ]
    assert [line for line in found[13:] if line.startswith("    ")] == [
        "    echo performance |",
        "      sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
        "    echo always | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    ]
    # Notes have a heading of their own, and sentences begin with a capital letter.
    heading = found.index("Keep in mind when comparing results:")
    assert found.index("- the frequency governor is ondemand, not performance") < heading
    assert found.index("- transparent huge pages are set to never") > heading
    assert found[15].startswith("  The clock is below its maximum")


def test_one_warning_is_one_thing() -> None:
    assert "\n1 thing here would spoil a measurement:\n" in text(on_battery=True)


def test_a_measured_ceiling_takes_the_place_of_the_hint() -> None:
    run = KernelRun(kernel="read", n_threads=1, n_bytes=1_000_000_000, times_ns=(100_000_000,) * 3)
    ceiling = Ceiling(env_id="e", measured_at="2025-01-03T11:55:00Z", runs=(run,))
    found = render(msgspec.structs.replace(diagnosis(QUIET), ceiling=ceiling))
    assert "slmprof doctor --bandwidth" not in found
    assert "  GB/s          1    10.0" in found


def test_cores_by_kind() -> None:
    kinds = (
        CoreKind(name="performance", cpus=tuple(range(8)), max_mhz=4700.0),
        CoreKind(name="efficiency", cpus=tuple(range(8, 16)), max_mhz=3400.0),
    )
    found = text(cores_physical=12, cores_logical=16, core_kinds=kinds, board=None).splitlines()
    assert found[0] == "CPU        Arm Cortex-A76"
    assert found[1:3] == [
        "cores      12 cores, 16 CPUs: performance 0-7 up to 4700 MHz, efficiency 8-15 up",
        "           to 3400 MHz",
    ]


def test_a_mac_and_a_container() -> None:
    mac = text(**MAC, os_name="macOS 14.5")
    assert "cores      4 cores: performance 4-7, efficiency 0-3" in mac
    assert "c0ffee0, llama-cpp-python 0.3.36, its own threads" in mac
    limited = text(memory_limit_bytes=2 << 30, os_name=None)
    assert "memory     8.00 GiB, 6.00 GiB available, limited to 2.00 GiB, pages of 16 KiB" in limited
    assert "system     Linux 6.6.51" in limited
    assert "limited" not in text(memory_limit_bytes=9 << 30)


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)])
def test_nothing_is_wider_than_80_columns(case: tuple[Any, ...]) -> None:
    assert max(map(len, text(**case[2]).splitlines())) <= 80


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)])
def test_a_broken_command_is_the_same_command(case: tuple[Any, ...]) -> None:
    command = case[5]
    if command is None:
        return
    lines = wrap_command(command)
    assert shlex.split("\n".join(lines).replace("\\\n", "")) == shlex.split(command)
    # A shell reads on after a pipe and after a backslash only.
    assert all(line.endswith((" \\", " |")) for line in lines[:-1])


def test_a_long_command_is_broken_between_its_words() -> None:
    assert wrap_command("A='b c d' run --one --two 'three four' five", width=30) == [
        "    A='b c d' run --one \\",
        "      --two 'three four' \\",
        "      five",
    ]


def test_the_object_has_everything() -> None:
    found = to_object(diagnosis(seen(governor="powersave")))
    assert list(found) == ["device", "build", "conditions", "findings", "energy", "ceilings"]
    assert found["device"]["cpu_model"] == "Arm Cortex-A76"
    assert found["device"]["core_kinds"] == ({"name": "all", "cpus": (0, 1, 2, 3), "max_mhz": 2400.0},)
    assert found["device"]["available_bytes"] == 6 << 30
    assert found["device"]["default_threads"] == [1, 2, 4]
    assert found["device"]["env_id"] == seen(governor="powersave").environment.id
    assert found["build"]["llama_commit"] == "c0ffee0"
    assert found["build"]["repacking_works"] is True
    assert found["build"]["assertions"] is False
    assert found["conditions"]["temperature_c"] == 48.3
    (finding,) = found["findings"]
    assert finding["name"] == "governor"
    assert set(finding) == {"name", "severity", "fact", "effect", "advice", "command"}
    described = {*found["device"], *found["build"]} - {
        "os_name", "available_bytes", "env_id", "default_threads", "repacking_works", "assertions"
    }  # fmt: skip
    assert described == set(seen().environment.__struct_fields__) - {"schema"}
    assert found["energy"] == {"source": None, "covers": None, "interval_ms": None, "reason": "no sensor is here"}
    assert found["ceilings"] is None


def test_the_object_names_the_energy_source() -> None:
    meter = Meter(source="INA3221", covers="the whole module", interval_ms=100, read_watts=lambda: 5.0)
    found = to_object(msgspec.structs.replace(diagnosis(QUIET), meter=meter))
    assert found["energy"] == {"source": "INA3221", "covers": "the whole module", "interval_ms": 100, "reason": None}
