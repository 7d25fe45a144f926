"""What would spoil a measurement: each finding's fact, its severity, and the command that fixes it."""

from typing import Any

import pytest

from profiler.doctor.advice import Finding, advise
from profiler.doctor.diagnosis import installer_of
from profiler.records.environment import CoreKind
from tests.support.findings import CASES, MAC, NOTE
from tests.support.seen import QUIET, seen

MIB = 1 << 20
GIB = 1 << 30
S = 1_000_000_000


def only(**changes: Any) -> Finding:
    """Return the one finding that a change causes."""
    (finding,) = advise(seen(**changes))
    return finding


def test_a_quiet_device_has_no_finding() -> None:
    assert advise(QUIET) == []


def test_what_the_system_does_not_report_is_no_finding() -> None:
    unknown = dict.fromkeys(
        ("temperature_c", "throttle_count", "load_1m", "steal_ns", "busy_ns", "swap_used_bytes", "on_battery")
    )
    machine = dict.fromkeys(("governor", "turbo", "huge_pages", "board", "power_mode"))
    assert advise(seen(**unknown, **machine, cpu_has=(), repacking_works=None, assertions=None)) == []


@pytest.mark.parametrize(
    ("name", "severity", "changes", "fact", "advice", "command"),
    CASES,
    ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)],
)
def test_a_finding_has_the_fact_and_the_fix(
    name: str, severity: str, changes: dict[str, Any], fact: str, advice: str | None, command: str | None
) -> None:
    found = only(**changes)
    assert (found.name, found.severity) == (name, severity)
    assert fact in found.fact
    assert (found.advice is None) == (advice is None)
    assert (advice or "") in (found.advice or "")
    assert found.command == command


@pytest.mark.parametrize("case", CASES, ids=[f"{number} {case[0]}" for number, case in enumerate(CASES)])
def test_a_finding_says_what_it_does_to_a_measurement_and_a_warning_how_to_fix_it(case: tuple[Any, ...]) -> None:
    found = only(**case[2])
    assert len(found.effect) > 20
    assert not found.effect.endswith(".")
    assert found.severity == NOTE or found.advice or found.command
    assert "\n" not in f"{found.fact}{found.effect}{found.advice}{found.command}"


@pytest.mark.parametrize(
    "changes",
    [
        {"turbo": False, "turbo_switch": "boost"},
        {"temperature_c": 69.9},
        {"load_1m": 0.5},
        {"steal_ns": 1 * S, "busy_ns": 120 * S},
        {"steal_ns": 5 * S, "busy_ns": None},
        {"swap_used_bytes": 64 * MIB - 1},
        {"available_bytes": 3 * GIB},
        {"available_bytes": 600 * MIB, "memory_limit_bytes": 1 * GIB},
        {"memory_limit_bytes": 64 * GIB},  # a limit that the machine cannot reach
        {"cpu_quota": 4.0},
        {"affinity": (0, 1, 2, 3)},
        {"on_battery": False},
        {"power_mode": "platform profile balanced"},
        {"power_mode": "platform profile performance"},
        {"power_mode": "nvpmodel MAXN"},
        {"cpu_has": ("NEON",)},  # the build has more
    ],
)
def test_below_its_threshold_there_is_no_finding(changes: dict[str, Any]) -> None:
    assert advise(seen(**changes)) == []


def test_a_mac_binds_no_threads() -> None:
    found = only(**MAC)
    assert (found.name, found.severity) == ("no-binding", NOTE)
    assert "-t at 4" in (found.advice or "")
    intel = only(**MAC | {"core_kinds": (CoreKind(name="all", cpus=(0, 1)),)})
    assert intel.advice is None


def test_a_mac_that_saves_power() -> None:
    low, battery, _ = advise(seen(**MAC, power_mode="low power on", on_battery=True))
    assert (low.name, low.fact, low.command) == (
        "power-mode",
        "low power mode is on",
        "sudo pmset -a lowpowermode 0",
    )
    assert battery.name == "battery"
    for mode in ("low power off", "high power"):
        assert [found.name for found in advise(seen(**MAC, power_mode=mode))] == ["no-binding"]


def test_an_idle_mac_has_a_load_average_too() -> None:
    assert [found.name for found in advise(seen(**MAC, load_1m=2.4))] == ["no-binding"]
    found = advise(seen(**MAC, load_1m=3.5))[0]
    assert "3.50" in found.fact
    assert found.command == "top -o cpu"


def test_a_mac_empties_its_swap_itself() -> None:
    found = advise(seen(**MAC, swap_used_bytes=1 * GIB))[0]
    assert (found.name, found.command) == ("swap", None)
    assert "close programs" in (found.advice or "")


def test_a_translated_python_is_the_cause_of_missing_features() -> None:
    found = advise(seen(**MAC, translated=True, cpu_features=("SSE3",)))
    assert [each.name for each in found] == ["rosetta", "no-binding"]
    assert "arm64" in (found[0].advice or "")


def test_warnings_come_before_notes() -> None:
    found = advise(seen(huge_pages="never", turbo=True, governor="powersave", cpu_quota=2.0, throttle_count=1))
    assert [each.name for each in found] == ["governor", "cpu-quota", "thermal-events", "turbo", "huge-pages"]


@pytest.mark.parametrize(
    ("note", "installer"), [("pipx_metadata.json", "pipx"), ("uv-receipt.toml", "uv"), ("pyvenv.cfg", "pip")]
)
def test_the_installer_is_recognized_by_the_file_it_leaves(tmp_path: Any, note: str, installer: str) -> None:
    (tmp_path / note).write_text("")
    assert installer_of(tmp_path) == installer
