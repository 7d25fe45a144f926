"""The readers of macOS and Windows, on recorded text and a fake psutil."""

from types import SimpleNamespace

import psutil
import pytest

from profiler.device.os import darwin, windows
from profiler.records.environment import CoreKind

GIB = 1 << 30

M1_AIR = """\
hw.ncpu: 8
hw.byteorder: 1234
hw.memsize: 17179869184
hw.activecpu: 8
hw.perflevel0.physicalcpu: 4
hw.perflevel0.physicalcpu_max: 4
hw.perflevel0.logicalcpu: 4
hw.perflevel0.logicalcpu_max: 4
hw.perflevel0.l2cachesize: 12582912
hw.perflevel0.name: Performance
hw.perflevel1.physicalcpu: 4
hw.perflevel1.logicalcpu: 4
hw.perflevel1.logicalcpu_max: 4
hw.perflevel1.name: Efficiency
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_BF16: 0
hw.optional.arm.FEAT_I8MM: 0
hw.optional.arm.FEAT_FP16: 1
hw.optional.neon: 1
hw.optional.AdvSIMD: 1
hw.optional.AdvSIMD_HPFPCvt: 1
hw.physicalcpu: 8
hw.physicalcpu_max: 8
hw.logicalcpu: 8
hw.cputype: 16777228
hw.cpufamily: 458787763
hw.pagesize: 16384
hw.pagesize32: 16384
hw.packages: 1
hw.osenvironment:\x20
hw.nperflevels: 2
hw.targettype: J313
machdep.cpu.cores_per_package: 8
machdep.cpu.core_count: 8
machdep.cpu.brand_string: Apple M1
hw.model: MacBookAir10,1
sysctl.proc_translated: 0
"""
M2_PRO = """\
hw.ncpu: 10
hw.memsize: 17179869184
hw.perflevel0.logicalcpu: 6
hw.perflevel1.logicalcpu: 4
hw.optional.arm.FEAT_DotProd: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_FP16: 1
hw.optional.AdvSIMD: 1
hw.physicalcpu: 10
hw.logicalcpu: 10
hw.cpufamily: -634136515
hw.pagesize: 16384
hw.nperflevels: 2
machdep.cpu.brand_string: Apple M2 Pro
hw.model: Mac14,9
sysctl.proc_translated: 1
"""
INTEL = """\
hw.ncpu: 16
hw.memsize: 34359738368
hw.optional.avx1_0: 1
hw.optional.avx2_0: 1
hw.optional.bmi2: 1
hw.optional.f16c: 1
hw.optional.fma: 1
hw.optional.avx512f: 0
hw.physicalcpu: 8
hw.logicalcpu: 16
hw.pagesize: 4096
machdep.cpu.brand_string: Intel(R) Core(TM) i9-9980HK CPU @ 2.40GHz
hw.model: MacBookPro15,1
"""
PMSET = """\
System-wide power settings:
Currently in use:
 standby              1
 Sleep On Power Button 1
 hibernatefile        /var/vm/sleepimage
 powernap             1
{}
 displaysleep         2
 sleep                1 (sleep prevented by powerd)
"""
NOTHING_RECORDED = """\
Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""


def test_a_macbook_air_m1() -> None:
    machine = darwin.parse_machine(M1_AIR, PMSET.format(" lowpowermode         0"))
    assert machine.board == "MacBookAir10,1"
    assert machine.cpu_name == "Apple M1"
    assert (machine.cores_physical, machine.cores_logical) == (8, 8)
    # The fastest kind comes first in the list, while the system numbers the slow cores first.
    assert machine.core_kinds == (
        CoreKind(name="performance", cpus=(4, 5, 6, 7)),
        CoreKind(name="efficiency", cpus=(0, 1, 2, 3)),
    )
    assert (machine.memory_bytes, machine.page_bytes) == (16 * GIB, 16384)
    assert machine.power_mode == "low power off"
    assert (machine.governor, machine.turbo, machine.affinity, machine.cpu_quota) == (None, None, None, None)


def test_a_macbook_pro_m2_has_more_fast_cores_than_slow_ones() -> None:
    machine = darwin.parse_machine(M2_PRO, "")
    assert machine.core_kinds == (
        CoreKind(name="performance", cpus=(4, 5, 6, 7, 8, 9)),
        CoreKind(name="efficiency", cpus=(0, 1, 2, 3)),
    )
    assert machine.power_mode is None


def test_three_levels_have_a_middle_one() -> None:
    levels = "hw.nperflevels: 3\nhw.logicalcpu: 12\n" + "".join(
        f"hw.perflevel{level}.logicalcpu: {count}\n" for level, count in enumerate((2, 6, 4))
    )
    assert darwin.parse_machine(levels, "").core_kinds == (
        CoreKind(name="performance", cpus=(10, 11)),
        CoreKind(name="middle", cpus=(4, 5, 6, 7, 8, 9)),
        CoreKind(name="efficiency", cpus=(0, 1, 2, 3)),
    )


@pytest.mark.parametrize("level", ["", "hw.nperflevels: 1\nhw.perflevel0.logicalcpu: 16\n"])
def test_an_intel_mac_has_one_kind(level: str) -> None:
    machine = darwin.parse_machine(INTEL + level, "")
    assert machine.core_kinds == (CoreKind(name="all", cpus=tuple(range(16))),)
    assert (machine.cores_physical, machine.cores_logical, machine.page_bytes) == (8, 16, 4096)


def test_no_answer_at_all_is_no_error() -> None:
    machine = darwin.parse_machine("", "")
    assert (machine.cores_physical, machine.cores_logical, machine.board) == (1, 1, None)


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        (" lowpowermode         1", "low power on"),
        (" lowpowermode         0", "low power off"),
        (" powermode            0", "low power off"),
        (" powermode            1", "low power on"),
        (" powermode            2", "high power"),
        ("", None),
    ],
)
def test_the_power_mode(line: str, mode: str | None) -> None:
    assert darwin.parse_machine(M1_AIR, PMSET.format(line)).power_mode == mode


@pytest.mark.parametrize(
    ("text", "raised"),
    [
        (NOTHING_RECORDED, ()),
        ("", ()),
        (
            "CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Available_CPUs \t= 4\n\tCPU_Speed_Limit \t= 72\n",
            ("cpu speed limit 72 %",),
        ),
        ("\tCPU_Scheduler_Limit \t= 50\n\tCPU_Speed_Limit \t= 100\n", ("cpu scheduler limit 50 %",)),
        ("2024-05-01 14:05:31 -0700 Thermal Warning Level = 5\n" + NOTHING_RECORDED[49:], ("thermal warning level 5",)),
        ("Thermal Warning Level = 0\nPerformance Warning Level = 255\n", ()),
    ],
)
def test_the_thermal_limits(text: str, raised: tuple[str, ...]) -> None:
    assert darwin.parse_throttle(text) == raised


@pytest.mark.parametrize(
    ("text", "on_battery"),
    [
        (
            "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining present: true\n",
            False,
        ),
        ("Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t42%; discharging; 3:10 remaining\n", True),
        ("Now drawing from 'UPS Power'\n", False),
        ("", None),
    ],
)
def test_the_power_source(text: str, on_battery: bool | None) -> None:
    assert darwin.parse_on_battery(text) is on_battery


def test_the_details_of_macs() -> None:
    m1 = darwin.parse_details(M1_AIR, "14.5")
    assert m1.os_name == "macOS 14.5"
    assert m1.cpu_features == ("NEON", "FP16_VA", "DOTPROD")
    assert m1.translated is False
    m2 = darwin.parse_details(M2_PRO, "")
    assert (m2.os_name, m2.translated) == (None, True)
    assert m2.cpu_features == ("NEON", "FP16_VA", "DOTPROD", "MATMUL_INT8")
    assert darwin.parse_details(INTEL, "13.6").cpu_features == ("AVX", "AVX2", "F16C", "FMA", "BMI2")


def test_what_is_asked_and_where_the_answers_go(monkeypatch: pytest.MonkeyPatch) -> None:
    # `sysctl hw` does not list hw.model, so it is requested by name.
    answers = {
        ("sysctl", "hw", "machdep.cpu", "hw.model", "sysctl.proc_translated"): M1_AIR,
        ("pmset", "-g"): PMSET.format(" lowpowermode         1"),
        ("pmset", "-g", "therm"): "CPU_Speed_Limit = 80\n",
        ("pmset", "-g", "ps"): "Now drawing from 'Battery Power'\n",
    }
    monkeypatch.setattr(darwin, "output_of", lambda *command: answers[command])
    monkeypatch.setattr(
        psutil, "cpu_times", lambda: SimpleNamespace(user=5.0, system=2.0, nice=0.5, idle=100.0, iowait=9.0)
    )
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=123))
    assert darwin.describe().power_mode == "low power on"
    assert darwin.details().cpu_features == ("NEON", "FP16_VA", "DOTPROD")
    found = darwin.conditions()
    assert found.throttle == ("cpu speed limit 80 %",)
    assert found.on_battery is True
    assert found.busy_ns == 7_500_000_000
    assert found.swap_used_bytes == 123
    assert (found.mhz, found.temperature_c, found.steal_ns) == (None, None, None)


def test_a_command_that_is_missing_says_nothing() -> None:
    assert darwin.output_of("no-such-command-anywhere") == ""


# --- Windows


def test_windows_through_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 12 if logical else 6)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=16 * GIB, available=9 * GIB))
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(user=3.0, system=1.0))
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=7))
    monkeypatch.setattr(psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=False))
    machine = windows.describe()
    assert (machine.cores_physical, machine.cores_logical) == (6, 12)
    assert machine.core_kinds == (CoreKind(name="all", cpus=tuple(range(12))),)
    assert machine.memory_bytes == 16 * GIB
    assert windows.available_bytes() == 9 * GIB
    found = windows.conditions()
    assert (found.busy_ns, found.swap_used_bytes, found.on_battery) == (4_000_000_000, 7, True)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: None)
    assert windows.conditions().on_battery is None


def test_a_windows_that_counts_no_physical_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4 if logical else None)
    assert windows.describe().cores_physical == 4
