"""Every finding of `doctor`, with the change to a quiet device that causes it and the text that it must have."""

from typing import Any

from profiler.records.record import CoreKind

MIB = 1 << 20
GIB = 1 << 30
S = 1_000_000_000
WARNING, NOTE = "warning", "note"
PI4 = "Raspberry Pi 4 Model B Rev 1.4"
MAC: dict[str, Any] = {
    "system": "Darwin",
    "machine": "arm64",
    "board": "MacBookAir10,1",
    "governor": None,
    "huge_pages": None,
    "threading": "ggml",
    "core_kinds": (CoreKind(name="performance", cpus=(4, 5, 6, 7)), CoreKind(name="efficiency", cpus=(0, 1, 2, 3))),
}
REBUILD = "--no-cache-dir --force-reinstall --no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36"

# name, severity, changes, fact, advice, command
CASES: list[tuple[str, str, dict[str, Any], str, str | None, str | None]] = [
    (
        "governor",
        WARNING,
        {"governor": "ondemand"},
        "the frequency governor is ondemand, not performance",
        "where cpupower is installed, sudo cpupower frequency-set -g performance does the same",
        "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    ),
    (
        "turbo",
        NOTE,
        {"turbo": True, "turbo_switch": "intel_pstate"},
        "turbo is on",
        "switch it off to compare like with like, leave it on to see what a user sees",
        "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
    ),
    (
        "turbo",
        NOTE,
        {"turbo": True, "turbo_switch": "boost"},
        "turbo is on",
        "switch it off to compare like with like, leave it on to see what a user sees",
        "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
    ),
    (
        "throttled",
        WARNING,
        {"throttle": ("under-voltage", "throttled"), "board": PI4},
        "the system reports under-voltage, throttled now",
        (
            "use a supply of 15 W (5.1 V, 3 A) and a short cable; "
            "let it cool down, give it a fan or a heat sink, and rest between rounds with --cooldown 30s"
        ),
        None,
    ),
    (
        "throttled",
        WARNING,
        {"throttle": ("soft temperature limit",)},
        "the system reports soft temperature limit now",
        "let it cool down, give it a fan or a heat sink, and rest between rounds with --cooldown 30s",
        None,
    ),
    (
        "throttled-before",
        WARNING,
        {"throttled_before": ("under-voltage",)},
        "since the start the system reported under-voltage",
        "use a supply of 27 W (5.1 V, 5 A) and a short cable; a restart clears these flags",
        "vcgencmd get_throttled",
    ),
    (
        "throttled-before",
        WARNING,
        {"throttled_before": ("under-voltage",), "board": "Raspberry Pi 3 Model B Rev 1.2"},
        "since the start the system reported under-voltage",
        "use a stronger supply, a short cable; a restart clears these flags",
        "vcgencmd get_throttled",
    ),
    (
        "thermal-events",
        NOTE,
        {"throttle_count": 24},
        "the CPU counted 24 thermal events since the start",
        "let it cool down, give it a fan or a heat sink, and rest between rounds with --cooldown 30s",
        None,
    ),
    (
        "temperature",
        WARNING,
        {"temperature_c": 74.2},
        "the CPU is at 74 °C before anything is measured",
        "let it cool down, give it a fan or a heat sink, and rest between rounds with --cooldown 30s",
        None,
    ),
    (
        "power-mode",
        WARNING,
        {"power_mode": "platform profile low-power", "power_modes": ("low-power", "balanced", "performance")},
        "the platform profile is low-power",
        None,
        "echo performance | sudo tee /sys/firmware/acpi/platform_profile",
    ),
    (
        "power-mode",
        WARNING,
        {"power_mode": "platform profile quiet", "power_modes": ("quiet", "balanced")},
        "the platform profile is quiet",
        None,
        "echo balanced | sudo tee /sys/firmware/acpi/platform_profile",
    ),
    (
        "power-mode",
        WARNING,
        {"power_mode": "nvpmodel 15W", "fastest_power_mode": 2},
        "the power mode is nvpmodel 15W, not MAXN",
        None,
        "sudo nvpmodel -m 2",
    ),
    (
        "battery",
        WARNING,
        {"on_battery": True},
        "the machine runs on its battery",
        "plug the charger in",
        None,
    ),
    (
        "load",
        WARNING,
        {"load_1m": 1.42},
        "the load average of the last minute is 1.42",
        "close what top lists first, and wait a minute",
        "top",
    ),
    (
        "steal",
        WARNING,
        {"steal_ns": 2 * S, "busy_ns": 98 * S},
        "since the start the host took 2.0% of the CPU time that was asked for",
        "measure on a machine of your own or with reserved cores, or take more --rounds",
        None,
    ),
    (
        "swap",
        WARNING,
        {"swap_used_bytes": 300 * MIB},
        "300.0 MiB lie in swap",
        None,
        "sudo swapoff -a && sudo swapon -a",
    ),
    (
        "swap",
        WARNING,
        {"swap_used_bytes": 300 * MIB, "zram_used_bytes": 200 * MIB},
        "300.0 MiB lie in swap, 200.0 MiB of it compressed in memory (zram)",
        None,
        "sudo swapoff -a && sudo swapon -a",
    ),
    (
        "swap",
        WARNING,
        {"swap_used_bytes": 7 * GIB},  # more than is available
        "7.00 GiB lie in swap",
        "close programs, or restart the machine",
        None,
    ),
    (
        "memory",
        WARNING,
        {"available_bytes": 2 * GIB},
        "2.00 GiB of the 8.00 GiB are available",
        "close programs, or take smaller levels",
        None,
    ),
    (
        "memory",
        WARNING,
        {"available_bytes": 500 * MIB, "memory_limit_bytes": 1 * GIB},
        "500.0 MiB of the 1.00 GiB that the container may use are available",
        "close programs, or take smaller levels",
        None,
    ),
    (
        "cpu-quota",
        WARNING,
        {"cpu_quota": 1.5},
        "the container is limited to 1.5 CPUs of 4 cores",
        "start the container with a higher limit, or keep -t below it",
        "docker update --cpus 4 CONTAINER",
    ),
    (
        "affinity",
        WARNING,
        {"affinity": (0, 1, 3)},
        "this process may use 3 of 4 CPUs: 0-1,3",
        "start it without taskset, or the container without --cpuset-cpus",
        "taskset -cp 0-3 $$",
    ),
    (
        "huge-pages",
        NOTE,
        {"huge_pages": "madvise"},
        "transparent huge pages are set to madvise",
        None,
        "echo always | sudo tee /sys/kernel/mm/transparent_hugepage/enabled",
    ),
    (
        "variables",
        WARNING,
        {"thread_variables": {"GOMP_CPU_AFFINITY": "0-3", "OMP_NUM_THREADS": "1"}},
        "GOMP_CPU_AFFINITY=0-3, OMP_NUM_THREADS=1 are set",
        None,
        "unset GOMP_CPU_AFFINITY OMP_NUM_THREADS",
    ),
    (
        "variables",
        WARNING,
        {"thread_variables": {"OMP_NUM_THREADS": "1"}, "system": "Windows"},
        "OMP_NUM_THREADS=1 is set",
        None,
        "Remove-Item Env:OMP_NUM_THREADS",
    ),
    (
        "variables",
        WARNING,
        {"thread_variables": {"GGML_OP_OFFLOAD_MIN_BATCH": "1"}, "threading": "ggml"},
        "GGML_OP_OFFLOAD_MIN_BATCH=1 is set",
        None,
        "unset GGML_OP_OFFLOAD_MIN_BATCH",
    ),
    (
        "variables",
        NOTE,
        {"thread_variables": {"OMP_NUM_THREADS": "1"}, "threading": "ggml"},
        "OMP_NUM_THREADS=1 is set",
        None,
        None,
    ),
    (
        "features",
        WARNING,
        {"cpu_features": ("NEON", "ARM_FMA")},
        "the CPU has FP16_VA, DOTPROD, but this llama.cpp was built without",
        "build it anew on this device, in slmprof's environment, with a compiler that knows this CPU",
        f"CMAKE_ARGS=-DGGML_NATIVE=ON python -m pip install {REBUILD}",
    ),
    (
        "features",
        WARNING,
        {"cpu_features": ("SSE3", "AVX"), "cpu_has": ("AVX", "AVX2", "AVX512"), "installer": "pipx"},
        "the CPU has AVX2, AVX512, but this llama.cpp was built without",
        "build it anew on this device, in slmprof's environment, with a compiler that knows this CPU",
        f"CMAKE_ARGS=-DGGML_NATIVE=ON pipx runpip slmprof install {REBUILD}",
    ),
    (
        "debug-build",
        WARNING,
        {"assertions": True, "installer": "uv"},
        "this llama.cpp was built with assertions, as a debug build is",
        "build it anew as a release, in slmprof's environment",
        (
            "CMAKE_ARGS='-DGGML_NATIVE=ON -DCMAKE_BUILD_TYPE=Release' "
            'uv pip install --python "$(uv tool dir)/slmprof" --no-cache --reinstall-package llama-cpp-python '
            "--no-deps --no-binary llama-cpp-python llama-cpp-python==0.3.36"
        ),
    ),
    (
        "repacking",
        WARNING,
        {"repacking_works": False},
        "llama.cpp crashes here in its repacked kernels (known of AMX code compiled by GCC 12)",
        "build it anew in slmprof's environment, with GCC 13 or Clang, or without the instructions at fault",
        (f"CMAKE_ARGS='-DCMAKE_C_FLAGS=-mno-amx-tile -DCMAKE_CXX_FLAGS=-mno-amx-tile' python -m pip install {REBUILD}"),
    ),
    (
        "debug-build",
        WARNING,
        {"assertions": True, "system": "Windows"},
        "this llama.cpp was built with assertions, as a debug build is",
        "build it anew as a release, in slmprof's environment",
        (f"$env:CMAKE_ARGS='-DGGML_NATIVE=ON -DCMAKE_BUILD_TYPE=Release'; python -m pip install {REBUILD}"),
    ),
    (
        "32-bit",
        WARNING,
        {"machine": "armv7l", "word_bits": 32, "cpu_features": ()},  # and no word about the features
        "the system is a 32-bit one (armv7l)",
        "install the 64-bit edition of the operating system",
        None,
    ),
    (
        "32-bit",
        WARNING,
        {"word_bits": 32},  # a 64-bit kernel under a 32-bit system, as Raspberry Pi OS has it
        "the system is a 32-bit one (32-bit Python)",
        "install the 64-bit edition of the operating system",
        None,
    ),
]
