"""What /proc and /sys contain on other machines, as far as it is read. The formats are the kernels' own.

A machine is a table of files; `tree` writes it into a folder that stands for "/".
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

Files = dict[str, str]
CPU = "sys/devices/system/cpu"


def tree(root: Path, *tables: Mapping[str, str]) -> Path:
    """Write the tables' files under a folder, each with the line end that the kernel writes."""
    for table in tables:
        for name, text in table.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text if text.endswith(("\n", "\0")) else f"{text}\n", encoding="utf-8")
    return root


def cpus(numbers: Iterable[int], **files: str) -> Files:
    """Write the same files for several CPUs; "__" in a name is a "/", and {cpu} in a text is the CPU's number."""
    return {
        f"{CPU}/cpu{cpu}/{name.replace('__', '/')}": text.format(cpu=cpu)
        for cpu in numbers
        for name, text in files.items()
    }


# Cores without a second thread, one package.
ONE_THREAD_A_CORE = {
    "topology__core_id": "{cpu}",
    "topology__physical_package_id": "0",
    "topology__thread_siblings_list": "{cpu}",
}


def zone(number: int, kind: str, milli: str) -> Files:
    """A thermal zone."""
    folder = f"sys/class/thermal/thermal_zone{number}"
    return {f"{folder}/type": kind, f"{folder}/temp": milli}


def supply(name: str, **files: str) -> Files:
    """A power supply: a charger or a battery."""
    return {f"sys/class/power_supply/{name}/{file}": text for file, text in files.items()}


def arm_cpuinfo(*cores: tuple[str, str], features: str) -> str:
    """/proc/cpuinfo of Arm cores, each an implementer and a part."""
    return "\n".join(
        f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {features}\nCPU implementer\t: {maker}\n"
        f"CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: {part}\nCPU revision\t: 1\n"
        for number, (maker, part) in enumerate(cores)
    )


def meminfo(total_kib: int, available_kib: int, swap_total_kib: int = 0, swap_free_kib: int = 0) -> str:
    """/proc/meminfo, shortened."""
    return (
        f"MemTotal:       {total_kib} kB\nMemFree:          200000 kB\nMemAvailable:   {available_kib} kB\n"
        f"Buffers:           50000 kB\nCached:          1000000 kB\nActive(anon):       1000 kB\n"
        f"SwapTotal:      {swap_total_kib} kB\nSwapFree:       {swap_free_kib} kB\nHugePages_Total:       0\n"
    )


STATUS = "Name:\tpython3\nVmRSS:\t   20480 kB\nvoluntary_ctxt_switches:\t150\nnonvoluntary_ctxt_switches:\t42\n"

# A laptop with an Intel Core i7-1260P: four performance cores of two threads, eight efficiency cores.
_FAST, _SLOW = range(8), range(8, 16)
LAPTOP: Files = {
    f"{CPU}/online": "0-15",
    **cpus(
        _FAST,
        cpufreq__cpuinfo_max_freq="4700000",
        cpufreq__scaling_cur_freq="2100000",
        cpufreq__scaling_governor="powersave",
        topology__physical_package_id="0",
        thermal_throttle__core_throttle_count="3",
    ),
    **cpus(
        _SLOW,
        cpufreq__cpuinfo_max_freq="3400000",
        cpufreq__scaling_cur_freq="900000",
        cpufreq__scaling_governor="powersave",
        topology__physical_package_id="0",
        topology__core_id="{cpu}",
        topology__thread_siblings_list="{cpu}",
        thermal_throttle__core_throttle_count="0",
    ),
    **{f"{CPU}/cpu{cpu}/topology/core_id": str(cpu // 2 * 4) for cpu in _FAST},
    **{f"{CPU}/cpu{cpu}/topology/thread_siblings_list": f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}" for cpu in _FAST},
    f"{CPU}/intel_pstate/no_turbo": "0",
    "sys/firmware/acpi/platform_profile": "low-power",
    "sys/firmware/acpi/platform_profile_choices": "low-power balanced performance",
    "sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never",
    **zone(0, "acpitz", "49000"),
    **zone(1, "x86_pkg_temp", "57000"),
    **zone(2, "iwlwifi_1", "63000"),
    **supply("AC", type="Mains", online="0"),
    **supply("BAT0", type="Battery", scope="System", status="Discharging"),
    **supply("hidpp_battery_0", type="Battery", scope="Device", status="Full"),
    "proc/cpuinfo": "\n".join(
        f"processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: 12th Gen Intel(R) Core(TM) i7-1260P\n"
        f"cpu MHz\t\t: 2100.000\n"
        f"flags\t\t: fpu vme sse sse2 ssse3 fma avx f16c avx2 bmi1 bmi2 avx_vnni\n"
        for cpu in range(16)
    ),
    "proc/meminfo": meminfo(16_000_000, 9_000_000, 2_000_000, 1_900_000),
    "proc/swaps": (
        "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
        "/dev/zram0                              partition\t1000000\t\t70000\t\t100\n"
        "/swapfile                               file\t\t1000000\t\t30000\t\t-2\n"
    ),
    "proc/loadavg": "0.42 0.35 0.30 1/1234 5678",
    "proc/stat": "cpu  1000 20 300 90000 50 6 4 0 70 0\ncpu0 100 2 30 9000 5 0 0 0 0 0\nintr 1\n",
    "proc/self/status": STATUS,
    "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-2.scope",
    "sys/fs/cgroup/user.slice/cpu.max": "max 100000",
    "sys/fs/cgroup/user.slice/memory.max": "max",
    "etc/os-release": 'NAME="Fedora Linux"\nVERSION_ID=41\nPRETTY_NAME="Fedora Linux 41 (Workstation Edition)"\n',
}

# A virtual machine on an AMD EPYC: no cpufreq, no thermal zone, some time stolen.
SERVER: Files = {
    f"{CPU}/online": "0-3",
    **cpus(
        range(4),
        **ONE_THREAD_A_CORE,
    ),
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
    "proc/cpuinfo": "\n".join(
        f"processor\t: {cpu}\nvendor_id\t: AuthenticAMD\nmodel name\t: AMD EPYC 7763 64-Core Processor\n"
        f"cpu MHz\t\t: {2400 + cpu * 10}.000\nflags\t\t: fpu sse sse2 ssse3 fma avx f16c avx2 bmi2\n"
        for cpu in range(4)
    ),
    "proc/meminfo": meminfo(8_000_000, 7_000_000),
    "proc/loadavg": "0.00 0.01 0.05 1/100 999",
    "proc/stat": "cpu  5000 0 1000 200000 100 0 50 121 0 0\n",
    "proc/self/cgroup": "0::/",
}

# A Raspberry Pi 5 under Raspberry Pi OS 12: 16 KiB pages, and no file with the throttling state.
PI5: Files = {
    f"{CPU}/online": "0-3",
    **cpus(
        range(4),
        cpufreq__cpuinfo_max_freq="2400000",
        cpufreq__scaling_cur_freq="1500000",
        cpufreq__scaling_governor="ondemand",
        **ONE_THREAD_A_CORE,
    ),
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    **zone(0, "cpu-thermal", "58400"),
    "sys/class/hwmon/hwmon0/name": "cpu_thermal",
    "sys/class/hwmon/hwmon0/temp1_input": "58400",
    "sys/class/hwmon/hwmon1/name": "rpi_volt",
    "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0",
    "proc/cpuinfo": arm_cpuinfo(
        *[("0x41", "0xd0b")] * 4,
        features="fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
    )
    + "\nRevision\t: d04170\nSerial\t\t: 0123456789abcdef\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
    "proc/meminfo": meminfo(8_255_616, 6_159_360, 2_097_136, 2_097_136),
    "proc/loadavg": "0.08 0.03 0.01 1/200 4321",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
}

# A Raspberry Pi 4 on a weak supply, with a kernel that has the driver's file.
PI4: Files = {
    f"{CPU}/online": "0-3",
    **cpus(
        range(4),
        cpufreq__cpuinfo_max_freq="1800000",
        cpufreq__scaling_cur_freq="600000",
        cpufreq__scaling_governor="ondemand",
        **ONE_THREAD_A_CORE,
    ),
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005",
    **zone(0, "cpu-thermal", "61835"),
    "proc/cpuinfo": arm_cpuinfo(*[("0x41", "0xd08")] * 4, features="fp asimd evtstrm crc32 cpuid"),
    "proc/meminfo": meminfo(3_884_360, 3_200_000),
}

# A Jetson Orin Nano Super in its 15 W mode; two clusters number their cores from 0 each.
JETSON: Files = {
    f"{CPU}/online": "0-5",
    **cpus(
        range(6),
        cpufreq__cpuinfo_max_freq="1510400",
        cpufreq__scaling_governor="schedutil",
        topology__thread_siblings_list="{cpu}",
    ),
    **{f"{CPU}/cpu{cpu}/topology/core_id": str(cpu % 4) for cpu in range(6)},
    **{f"{CPU}/cpu{cpu}/topology/physical_package_id": str(cpu // 4) for cpu in range(6)},
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0",
    "var/lib/nvpmodel/status": "pmode:0000 fmode:quiet",
    "etc/nvpmodel.conf": (
        "# Power models\n"
        "< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\nCPU_A78_0 MAX_FREQ 1510400\n\n"
        "< POWER_MODEL ID=1 NAME=25W >\nCPU_ONLINE CORE_0 1\n\n"
        "< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nCPU_A78_0 MAX_FREQ -1\n\n"
        "< PM_CONFIG DEFAULT=1 >\n"
    ),
    **zone(0, "cpu-thermal", "47031"),
    **zone(1, "gpu-thermal", "52000"),
    **zone(2, "soc0-thermal", "48500"),
    **zone(3, "soc1-thermal", "-256000"),  # switched off
    "proc/cpuinfo": arm_cpuinfo(*[("0x41", "0xd42")] * 6, features="fp asimd asimdhp asimddp"),
    "proc/meminfo": meminfo(7_800_000, 6_500_000),
}
