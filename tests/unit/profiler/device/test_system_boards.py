"""Boards under load: the readers on a Jetson and on a hot Arm board with two kinds of cores."""

from pathlib import Path

import pytest

from profiler.device.os import cooling
from profiler.device.os.linux import conditions, describe, details
from profiler.records.environment import CoreKind
from tests.support.systems import CPU, JETSON, LAPTOP, ONE_THREAD_A_CORE, Files, arm_cpuinfo, cpus, meminfo, tree, zone

_LITTLE, _BIG = range(4), range(4, 8)


def cooler(number: int, kind: str, state: str, most: str = "9") -> Files:
    """A cooling device."""
    folder = f"sys/class/thermal/cooling_device{number}"
    return {f"{folder}/type": kind, f"{folder}/cur_state": state, f"{folder}/max_state": most}


# An Orange Pi 5 (Rockchip RK3588S) without a fan: the slow cores have the low numbers, and 85 degrees are its limit.
RK3588: Files = {
    f"{CPU}/online": "0-7",
    **cpus(_LITTLE, cpufreq__cpuinfo_max_freq="1800000", cpufreq__scaling_cur_freq="1008000"),
    **cpus(_BIG, cpufreq__cpuinfo_max_freq="2352000", cpufreq__scaling_cur_freq="1608000"),
    **cpus(
        range(8),
        cpufreq__scaling_governor="ondemand",
        **ONE_THREAD_A_CORE,
    ),
    "proc/device-tree/model": "Orange Pi 5\0",
    **zone(0, "soc-thermal", "84100"),
    **zone(1, "bigcore0-thermal", "85000"),
    **zone(2, "littlecore-thermal", "83200"),
    **zone(3, "gpu-thermal", "82000"),
    **cooler(0, "thermal-cpufreq-0", "0", "6"),
    **cooler(1, "thermal-cpufreq-1", "3", "8"),
    **cooler(2, "thermal-devfreq-0", "2", "4"),  # memory or graphics
    **cooler(3, "pwm-fan", "4", "4"),
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    "proc/cpuinfo": arm_cpuinfo(
        *[("0x41", "0xd05")] * 4, *[("0x41", "0xd0b")] * 4, features="fp asimd asimdhp asimddp"
    ),
    "proc/meminfo": meminfo(8_130_000, 7_000_000, 1_000_000, 990_000),
    "proc/loadavg": "4.02 2.11 0.90 5/300 1234",
    "proc/stat": "cpu  900 10 90 5000 1 2 3 0 0 0\n",
}


def test_an_arm_board_with_two_kinds_of_cores(tmp_path: Path) -> None:
    root = tree(tmp_path, RK3588)
    machine = describe(root)
    assert machine.board == "Orange Pi 5"
    assert machine.cpu_name == "Arm Cortex-A55 + Arm Cortex-A76"
    assert machine.core_kinds == (
        CoreKind(name="performance", cpus=(4, 5, 6, 7), max_mhz=2352.0),
        CoreKind(name="efficiency", cpus=(0, 1, 2, 3), max_mhz=1800.0),
    )
    assert (machine.cores_physical, machine.governor, machine.huge_pages) == (8, "ondemand", "madvise")
    assert details(root).cpu_features == ("NEON", "FP16_VA", "DOTPROD")


def test_an_arm_board_that_its_kernel_holds_down(tmp_path: Path) -> None:
    root = tree(tmp_path, RK3588)
    found = conditions((4, 5, 6, 7), root)
    assert (found.mhz, found.mhz_min, found.temperature_c) == (1608.0, 1608.0, 85.0)
    assert found.throttle == ("thermal limit step 3 of 8",)
    assert (found.governor, found.load_1m, found.on_battery) == ("ondemand", 4.02, None)
    assert found.swap_used_bytes == 10_000 * 1024
    assert found.steal_ns == 0
    assert conditions(root=root).mhz == (4 * 1008 + 4 * 1608) / 8


def test_a_jetson_at_work(tmp_path: Path) -> None:
    held = {
        **cpus(range(6), cpufreq__scaling_cur_freq="1190400"),
        **zone(0, "cpu-thermal", "98500"),
        **cooler(0, "cpufreq-cpu0", "2", "20"),
        **cooler(1, "cpufreq-cpu4", "1", "20"),
        **cooler(2, "17000000.gpu", "5", "10"),
    }
    found = conditions(root=tree(tmp_path, JETSON, held))
    assert (found.mhz, found.temperature_c, found.governor) == (pytest.approx(1190.4), 98.5, "schedutil")
    assert found.throttle == ("thermal limit step 2 of 20",)
    assert found.throttle_count is None


@pytest.mark.parametrize(
    ("devices", "raised"),
    [
        (cooler(0, "Processor", "0"), ()),
        (cooler(0, "Processor", "3", "10"), ("thermal limit step 3 of 10",)),
        (cooler(0, "intel_powerclamp", "-1", "50"), ()),
        (cooler(0, "Fan", "1", "1"), ()),
        (cooler(0, "thermal-cpufreq-0", "1", "none") | cooler(1, "Processor", "2", "9"), ("thermal limit step 1",)),
    ],
)
def test_only_devices_that_cool_the_cpus_by_their_clock_count(
    tmp_path: Path, devices: Files, raised: tuple[str, ...]
) -> None:
    assert cooling.limits(tree(tmp_path, devices)) == raised
    assert conditions(root=tree(tmp_path, LAPTOP)).throttle == raised


def test_a_governor_of_the_chosen_cores_only(tmp_path: Path) -> None:
    root = tree(tmp_path, LAPTOP, {f"{CPU}/cpu0/cpufreq/scaling_governor": "performance"})
    assert conditions(root=root).governor == "performance+powersave"
    assert conditions((0,), root).governor == "performance"
    assert conditions((8, 9), root).governor == "powersave"


def test_cpus_that_idle_do_not_lower_the_clock_of_those_that_work(tmp_path: Path) -> None:
    root = tree(tmp_path, {**cpus(range(2), cpufreq__scaling_cur_freq="3000000"),
                           **cpus(range(2, 8), cpufreq__scaling_cur_freq="800000")})  # fmt: skip
    assert conditions(root=root, n_busy=1).mhz == 3000
    busy = conditions(root=root, n_busy=2)
    assert (busy.mhz, busy.mhz_min) == (3000, 3000)
    assert conditions(root=root).mhz == 1350
    assert conditions((2, 3), root, n_busy=4).mhz == 800
