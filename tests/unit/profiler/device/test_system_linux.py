"""The Linux readers, on recorded /proc and /sys of other machines."""

import os
import time
from pathlib import Path

import pytest

from profiler.device.os import raspberry
from profiler.device.os.linux import available_bytes, conditions, core_kinds, cpu_list, describe, details
from profiler.records.environment import CoreKind
from tests.support.systems import CPU, JETSON, LAPTOP, PI4, PI5, SERVER, cpus, meminfo, supply, tree, zone

KIB = 1024
TICK_NS = 10_000_000  # a hundredth of a second


@pytest.fixture
def firmware(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A vcgencmd that says what the list holds, and nothing when it is empty."""
    answers: list[str] = []
    monkeypatch.setattr("profiler.device.os.programs._problems", {})
    monkeypatch.setattr(raspberry, "vcgencmd", lambda *_: answers[0] if answers else "")
    return answers


# --- machines


def test_a_hybrid_laptop(tmp_path: Path) -> None:
    root = tree(tmp_path, LAPTOP)
    machine = describe(root)
    assert machine.board is None
    assert machine.cpu_name is None  # the model's name is py-cpuinfo's business
    assert (machine.cores_physical, machine.cores_logical) == (12, 16)
    assert machine.core_kinds == (
        CoreKind(name="performance", cpus=(0, 1, 2, 3, 4, 5, 6, 7), max_mhz=4700.0),
        CoreKind(name="efficiency", cpus=(8, 9, 10, 11, 12, 13, 14, 15), max_mhz=3400.0),
    )
    assert (machine.affinity, machine.cpu_quota, machine.memory_limit_bytes) == (None, None, None)
    assert machine.memory_bytes == 16_000_000 * KIB
    assert (machine.governor, machine.turbo, machine.huge_pages) == ("powersave", True, "madvise")
    assert machine.power_mode == "platform profile low-power"


@pytest.mark.parametrize(
    ("allowed", "n_cores"),
    [((0, 1), 1), ((0, 1, 2), 2), ((1, 3, 5), 3), ((6, 7, 8, 9), 3), (tuple(range(16)), 12)],
)
def test_the_threads_of_a_core_that_may_be_used_are_one_core(
    tmp_path: Path, allowed: tuple[int, ...], n_cores: int
) -> None:
    machine = describe(tree(tmp_path, LAPTOP), allowed)
    assert machine.cores_physical == n_cores
    assert machine.affinity == (None if len(allowed) == 16 else allowed)
    assert machine.cores_logical == 16


def capacities(*values: str) -> dict[str, str]:
    return {f"{CPU}/cpu{cpu}/cpu_capacity": value for cpu, value in enumerate(values)}


def test_capacity_decides_before_the_clock(tmp_path: Path) -> None:
    # Small cores with the higher clock.
    root = tree(
        tmp_path,
        {f"{CPU}/online": "0-3"},
        cpus((0, 1), cpufreq__cpuinfo_max_freq="2000000"),
        cpus((2, 3), cpufreq__cpuinfo_max_freq="1800000"),
        capacities("430", "430", "1024", "1000"),
    )
    assert core_kinds(root, range(4)) == (
        CoreKind(name="performance", cpus=(2, 3), max_mhz=1800.0),
        CoreKind(name="efficiency", cpus=(0, 1), max_mhz=2000.0),
    )


def test_capacities_without_a_clock_are_enough(tmp_path: Path) -> None:
    root = tree(tmp_path, {f"{CPU}/online": "0-2"}, capacities("1024", "300", "600"))
    assert [(kind.name, kind.cpus, kind.max_mhz) for kind in core_kinds(root, range(3))] == [
        ("performance", (0,), None),
        ("middle", (2,), None),
        ("efficiency", (1,), None),
    ]


@pytest.mark.parametrize("values", [("1024", "1024"), ("1024",), ("", "1024")])
def test_one_capacity_for_all_or_a_missing_one_leaves_it_to_the_clock(tmp_path: Path, values: tuple[str, ...]) -> None:
    root = tree(
        tmp_path,
        cpus((0,), cpufreq__cpuinfo_max_freq="1000000"),
        cpus((1,), cpufreq__cpuinfo_max_freq="2000000"),
        capacities(*values),
    )
    assert [kind.cpus for kind in core_kinds(root, range(2))] == [(1,), (0,)]


def test_a_hybrid_laptop_at_work(tmp_path: Path) -> None:
    root = tree(tmp_path, LAPTOP)
    found = conditions(root=root)
    assert found.mhz == (8 * 2100 + 8 * 900) / 16
    assert found.mhz_min == 900.0
    assert found.temperature_c == 57.0  # the wireless card is hotter
    assert found.throttle == ()
    assert found.throttle_count == 8 * 3
    assert found.load_1m == 0.42
    assert found.steal_ns == 0
    assert found.busy_ns == (1000 + 20 + 300 + 6 + 4) * TICK_NS
    assert found.involuntary_switches == 42
    assert found.swap_used_bytes == 100_000 * KIB
    assert found.on_battery is True
    assert found.governor == "powersave"
    assert found.major_faults is not None
    assert found.minor_faults is not None
    assert conditions((8, 9), root).mhz == 900.0
    assert available_bytes(root) == 9_000_000 * KIB


def test_a_hybrid_laptop_in_detail(tmp_path: Path) -> None:
    found = details(tree(tmp_path, LAPTOP))
    assert found.os_name == "Fedora Linux 41 (Workstation Edition)"
    assert found.cpu_features == ("SSSE3", "AVX", "AVX2", "F16C", "FMA", "BMI2", "AVX_VNNI")
    assert found.zram_used_bytes == 70_000 * KIB
    assert found.turbo_switch == "intel_pstate"
    assert found.power_modes == ("low-power", "balanced", "performance")
    assert (found.throttled_before, found.fastest_power_mode, found.translated) == ((), None, False)


def test_a_virtual_machine_without_cpufreq(tmp_path: Path) -> None:
    root = tree(tmp_path, SERVER)
    machine = describe(root)
    assert machine.core_kinds == (CoreKind(name="all", cpus=(0, 1, 2, 3)),)
    assert (machine.cores_physical, machine.cores_logical) == (4, 4)
    assert (machine.governor, machine.turbo, machine.power_mode, machine.board) == (None, None, None, None)
    assert machine.huge_pages == "always"
    found = conditions(root=root)
    assert found.mhz == 2415.0
    assert conditions((1, 3), root).mhz == 2420.0
    assert (found.temperature_c, found.throttle_count, found.on_battery) == (None, None, None)
    assert found.steal_ns == 121 * TICK_NS
    assert found.swap_used_bytes == 0
    assert found.involuntary_switches is None  # no status file in this tree
    assert details(root).cpu_features == ("SSSE3", "AVX", "AVX2", "F16C", "FMA", "BMI2")


def test_a_raspberry_pi_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware: list[str]) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 16384, "SC_CLK_TCK": 100}.__getitem__)
    root = tree(tmp_path, PI5)
    machine = describe(root)
    assert machine.board == "Raspberry Pi 5 Model B Rev 1.0"
    assert machine.cpu_name == "Arm Cortex-A76"
    assert machine.page_bytes == 16384
    assert machine.core_kinds == (CoreKind(name="all", cpus=(0, 1, 2, 3), max_mhz=2400.0),)
    assert (machine.cores_physical, machine.governor, machine.turbo) == (4, "ondemand", None)
    found = conditions(root=root)
    assert (found.temperature_c, found.mhz) == (58.4, 1500.0)
    assert found.throttle == ()
    assert details(root).cpu_features == ("NEON", "FP16_VA", "DOTPROD")
    assert details(root).os_name == "Debian GNU/Linux 12 (bookworm)"


def test_a_pi_5_reports_throttling_through_vcgencmd_only(tmp_path: Path, firmware: list[str]) -> None:
    root = tree(tmp_path, PI5)
    firmware.append("throttled=0xe0008\n")
    assert conditions(root=root).throttle == ("soft temperature limit",)
    assert details(root).throttled_before == ("frequency capped", "throttled", "soft temperature limit")


def test_a_voltage_alarm_counts_where_the_firmware_is_silent(tmp_path: Path, firmware: list[str]) -> None:
    root = tree(tmp_path, PI5, {"sys/class/hwmon/hwmon1/in0_lcrit_alarm": "1"})
    assert conditions(root=root).throttle == ("under-voltage",)


def test_a_raspberry_pi_4_on_a_weak_supply(tmp_path: Path, firmware: list[str]) -> None:
    root = tree(tmp_path, PI4)
    assert describe(root).cpu_name == "Arm Cortex-A72"
    assert conditions(root=root).throttle == ("under-voltage", "throttled")
    # The kernel clears the file's upper bits; only the firmware remembers.
    assert details(root).throttled_before == ()
    firmware.append("throttled=0x50000\n")
    assert conditions(root=root).throttle == ("under-voltage", "throttled")
    assert details(root).throttled_before == ("under-voltage", "throttled")


@pytest.mark.parametrize("answer", ["", "VCHI initialization failed\n", "throttled=words\n"])
def test_a_firmware_that_does_not_answer_is_not_taken_for_all_well(
    tmp_path: Path, firmware: list[str], answer: str
) -> None:
    firmware.append(answer)
    found = conditions(root=tree(tmp_path, PI5))
    assert found.throttle == ()
    assert (found.throttle_problem or "").startswith("throttling cannot be read: vcgencmd ")
    firmware[0] = "throttled=0x0\n"
    assert conditions(root=tmp_path).throttle_problem is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (None, "is missing"),
        ("echo VCHI initialization failed >&2; exit 255", "status 255 (VCHI initialization failed)"),
        ("exec sleep 9", "does not answer"),
        ("exit 0", "printed nothing"),
    ],
)
def test_why_vcgencmd_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, words: str
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    if script is not None:
        (programs / "vcgencmd").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "vcgencmd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin" if script else str(programs))
    monkeypatch.setattr(raspberry, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr("profiler.device.os.programs._problems", {})
    root = tree(tmp_path / "root", PI5)
    assert words in (conditions(root=root).throttle_problem or "")
    if words == "does not answer":
        begun_s = time.monotonic()
        assert words in (conditions(root=root).throttle_problem or "")
        assert time.monotonic() - begun_s < 0.2  # it is waited for once


def test_vcgencmd_is_not_asked_on_other_boards(tmp_path: Path, firmware: list[str]) -> None:
    firmware.append("throttled=0xf000f\n")
    root = tree(tmp_path, JETSON)
    assert conditions(root=root).throttle == ()
    assert conditions(root=root).throttle_problem is None
    assert details(root).throttled_before == ()


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("throttled=0x50005\n", 0x50005),
        ("throttled=0x0\n", 0),
        ("50005", 0x50005),
        ("0", 0),
        ("", None),
        ('error=1 error_msg="Command not registered"', None),
        ("VCHI initialization failed", None),
    ],
)
def test_the_bits_of_get_throttled(text: str, bits: int | None) -> None:
    assert raspberry.parse_throttled(text) == bits


def test_a_jetson_below_its_fastest_mode(tmp_path: Path) -> None:
    root = tree(tmp_path, JETSON)
    machine = describe(root)
    assert machine.cpu_name == "Arm Cortex-A78AE"
    assert machine.cores_physical == 6  # two clusters have a core 0 each
    assert machine.core_kinds == (CoreKind(name="all", cpus=(0, 1, 2, 3, 4, 5), max_mhz=1510.4),)
    assert machine.power_mode == "nvpmodel 15W"
    assert details(root).fastest_power_mode == 2  # neither 0 nor the highest number everywhere
    assert conditions(root=root).temperature_c == 48.5  # the graphics processor is hotter


def test_a_jetson_in_its_fastest_mode(tmp_path: Path) -> None:
    root = tree(tmp_path, JETSON, {"var/lib/nvpmodel/status": "pmode:0002 fmode:quiet"})
    assert describe(root).power_mode == "nvpmodel MAXN_SUPER"
    assert details(root).fastest_power_mode is None


def test_a_jetson_whose_modes_cannot_be_read(tmp_path: Path) -> None:
    root = tree(tmp_path, {**JETSON, "etc/nvpmodel.conf": ""})
    assert describe(root).power_mode == "nvpmodel mode 0"
    assert details(root).fastest_power_mode is None


def test_an_empty_tree_is_no_error(tmp_path: Path) -> None:
    machine = describe(tmp_path)
    assert machine.board is None
    assert machine.cores_physical == machine.cores_logical == os.cpu_count()
    assert machine.memory_bytes > 0
    found = conditions(root=tmp_path)
    assert (found.mhz, found.load_1m, found.busy_ns, found.swap_used_bytes, found.on_battery) == (None,) * 5
    assert available_bytes(tmp_path) == 0


# --- cores


def test_kinds_differ_by_more_than_favoured_cores_do(tmp_path: Path) -> None:
    khz = {0: "5300000", 1: "5300000", 2: "5000000", 3: "3800000", 4: "2500000"}
    root = tree(tmp_path, *(cpus([cpu], cpufreq__cpuinfo_max_freq=most) for cpu, most in khz.items()))
    assert core_kinds(root, range(5)) == (
        CoreKind(name="performance", cpus=(0, 1, 2), max_mhz=5300.0),
        CoreKind(name="middle", cpus=(3,), max_mhz=3800.0),
        CoreKind(name="efficiency", cpus=(4,), max_mhz=2500.0),
    )


def test_kinds_are_one_where_a_frequency_is_missing(tmp_path: Path) -> None:
    root = tree(tmp_path, cpus([0, 1], cpufreq__cpuinfo_max_freq="2000000"))
    assert core_kinds(root, range(3)) == (CoreKind(name="all", cpus=(0, 1, 2)),)


def test_cores_of_several_makers_and_unknown_ones_are_named(tmp_path: Path) -> None:
    lines = [("0x41", "0xd05"), ("0x41", "0xd05"), ("0x41", "0xd0b"), ("0x4e", "0x004"), ("0x61", "0x022")]
    text = "".join(f"CPU implementer\t: {maker}\nCPU part\t: {part}\n\n" for maker, part in lines)
    assert describe(tree(tmp_path, {"proc/cpuinfo": text})).cpu_name == (
        "Arm Cortex-A55 + Arm Cortex-A76 + NVIDIA Carmel + implementer 0x61 part 0x022"
    )


def test_a_feature_counts_when_every_core_has_it(tmp_path: Path) -> None:
    text = "Features\t: asimd asimddp sve\n\nFeatures\t: asimd asimddp\n"
    assert details(tree(tmp_path, {"proc/cpuinfo": text})).cpu_features == ("NEON", "DOTPROD")


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("0-3,8", (0, 1, 2, 3, 8)), ("0", (0,)), ("", ()), ("0-1,4-5", (0, 1, 4, 5)), ("none", ())],
)
def test_the_kernels_list_format(text: str, numbers: tuple[int, ...]) -> None:
    assert cpu_list(text) == numbers


def test_a_mixture_of_governors_is_reported(tmp_path: Path) -> None:
    root = tree(tmp_path, PI5, cpus([3], cpufreq__scaling_governor="performance"))
    assert describe(root).governor == "ondemand+performance"


@pytest.mark.parametrize(("boost", "turbo"), [("1", True), ("0", False)])
def test_turbo_of_a_cpu_without_intel_pstate(tmp_path: Path, boost: str, turbo: bool) -> None:
    root = tree(tmp_path, SERVER, {f"{CPU}/cpufreq/boost": boost})
    assert describe(root).turbo is turbo
    assert details(root).turbo_switch == "boost"


# --- heat and power


def test_an_amd_cpu_has_a_chip_instead_of_a_zone(tmp_path: Path) -> None:
    chips = {
        "sys/class/hwmon/hwmon0/name": "nvme",
        "sys/class/hwmon/hwmon0/temp1_input": "71000",
        "sys/class/hwmon/hwmon1/name": "k10temp",
        "sys/class/hwmon/hwmon1/temp1_input": "44500",
    }
    assert conditions(root=tree(tmp_path, SERVER, chips)).temperature_c == 44.5


def test_a_zone_without_a_number_is_skipped(tmp_path: Path) -> None:
    root = tree(tmp_path, zone(0, "cpu-thermal", ""), zone(1, "cpu-thermal", "40000"))
    assert conditions(root=root).temperature_c == 40.0


@pytest.mark.parametrize(
    ("supplies", "on_battery"),
    [
        ((), None),
        ((supply("AC", type="Mains", online="1"),), None),  # a desktop
        ((supply("mouse", type="Battery", scope="Device", status="Discharging"),), None),
        ((supply("AC", type="Mains", online="1"), supply("BAT0", type="Battery", status="Charging")), False),
        ((supply("AC", type="Mains", online="0"), supply("BAT0", type="Battery", status="Discharging")), True),
        # Charged through USB-C while the round socket is empty.
        (
            (
                supply("AC", type="Mains", online="0"),
                supply("ucsi-1", type="USB", online="1"),
                supply("BAT0", type="Battery", status="Charging"),
            ),
            False,
        ),
        ((supply("BAT0", type="Battery", status="Discharging"),), True),
        ((supply("BAT0", type="Battery", status="Full"),), False),
    ],
)
def test_whether_a_battery_feeds_the_machine(
    tmp_path: Path, supplies: tuple[dict[str, str], ...], on_battery: bool | None
) -> None:
    assert conditions(root=tree(tmp_path, *supplies)).on_battery is on_battery


# --- containers

GROUP = "sys/fs/cgroup"


def test_a_container_of_version_2_with_a_namespace_of_its_own(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        SERVER,
        {
            "proc/self/cgroup": "0::/",
            f"{GROUP}/cpu.max": "150000 100000",
            f"{GROUP}/memory.max": "2147483648",
            f"{GROUP}/memory.current": "1073741824",
            f"{GROUP}/memory.stat": "anon 500\ninactive_anon 7\nactive_file 9\ninactive_file 73741824\n",
        },
    )
    machine = describe(root)
    assert (machine.cpu_quota, machine.memory_limit_bytes) == (1.5, 2 << 30)
    assert machine.memory_bytes == 8_000_000 * KIB
    assert available_bytes(root) == (1 << 30) + 73_741_824


def test_the_tightest_group_rules(tmp_path: Path) -> None:
    outer, inner = f"{GROUP}/kubepods.slice", f"{GROUP}/kubepods.slice/pod1.slice"
    root = tree(
        tmp_path,
        SERVER,
        {
            "proc/self/cgroup": "0::/kubepods.slice/pod1.slice/container.scope",
            f"{outer}/cpu.max": "200000 100000",
            f"{outer}/memory.max": "6442450944",
            f"{inner}/cpu.max": "max 100000",
            f"{inner}/memory.max": "4294967296",
            f"{inner}/memory.current": "4294967296",
        },
    )
    machine = describe(root)
    assert (machine.cpu_quota, machine.memory_limit_bytes) == (2.0, 4 << 30)
    assert available_bytes(root) == 0


def test_a_group_without_limits_has_none(tmp_path: Path) -> None:
    limits = {f"{GROUP}/cpu.max": "max 100000", f"{GROUP}/memory.max": "max", f"{GROUP}/memory.current": "5"}
    root = tree(tmp_path, SERVER, limits)
    assert (describe(root).cpu_quota, describe(root).memory_limit_bytes) == (None, None)
    assert available_bytes(root) == 7_000_000 * KIB


V1 = (
    "12:cpuset:/docker/c0ffee\n5:cpu,cpuacct:/docker/c0ffee\n4:memory:/docker/c0ffee\n"
    "1:name=systemd:/docker/c0ffee\n0::/docker/c0ffee\n"
)


def test_a_container_of_version_1(tmp_path: Path) -> None:
    # /proc names the group as the host sees it, the mount shows the container's own at its top.
    root = tree(
        tmp_path,
        SERVER,
        {
            "proc/self/cgroup": V1,
            f"{GROUP}/cpu,cpuacct/cpu.cfs_quota_us": "250000",
            f"{GROUP}/cpu,cpuacct/cpu.cfs_period_us": "100000",
            f"{GROUP}/memory/memory.limit_in_bytes": "1073741824",
            f"{GROUP}/memory/memory.usage_in_bytes": "1000000000",
            f"{GROUP}/memory/memory.stat": "cache 1\ninactive_file 5\ntotal_inactive_file 26258176\n",
        },
    )
    machine = describe(root)
    assert (machine.cpu_quota, machine.memory_limit_bytes) == (2.5, 1 << 30)
    assert available_bytes(root) == 100_000_000


def test_version_1_without_limits(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        SERVER,
        {
            "proc/self/cgroup": V1,
            f"{GROUP}/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            f"{GROUP}/cpu,cpuacct/cpu.cfs_period_us": "100000",
            f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712",
            f"{GROUP}/memory/memory.usage_in_bytes": "1000000000",
        },
    )
    assert (describe(root).cpu_quota, describe(root).memory_limit_bytes) == (None, None)
    assert available_bytes(root) == 7_000_000 * KIB


def test_version_1_whose_mount_has_the_controllers_in_another_order(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        SERVER,
        {
            "proc/self/cgroup": "4:cpuacct,cpu:/system.slice/job.service\n",
            f"{GROUP}/cpu/system.slice/job.service/cpu.cfs_quota_us": "50000",
            f"{GROUP}/cpu/system.slice/job.service/cpu.cfs_period_us": "100000",
        },
    )
    assert describe(root).cpu_quota == 0.5


def test_a_process_outside_its_namespace_has_the_limits_of_the_top(tmp_path: Path) -> None:
    root = tree(tmp_path / "root", SERVER, {"proc/self/cgroup": "0::/../other", f"{GROUP}/cpu.max": "100000 100000"})
    tree(tmp_path, {"other/cpu.max": "1 100000"})
    assert describe(root).cpu_quota == 1.0


def test_an_old_kernel_makes_no_estimate_of_what_is_available(tmp_path: Path) -> None:
    text = meminfo(1_000_000, 1).replace("MemAvailable", "MemUnheardOf")
    assert available_bytes(tree(tmp_path, {"proc/meminfo": text})) == (200_000 + 50_000 + 1_000_000) * KIB


def test_a_system_whose_files_cannot_be_read(tmp_path: Path) -> None:
    machine = describe(tmp_path)
    assert machine.memory_bytes == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine.cores_physical == machine.cores_logical
    assert conditions(root=tmp_path).busy_ns is None
