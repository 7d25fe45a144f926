"""What throttles the clock or lets it vary: governor, turbo, heat, power supply, power modes.

Source of the commands: the kernel's Documentation/admin-guide/pm/cpufreq.rst and intel_pstate.rst,
ABI/testing/sysfs-platform_profile, pmset(1), NVIDIA's nvpmodel; of the power supplies: Raspberry Pi's documentation.
"""

from collections.abc import Callable

from profiler.doctor.advice.finding import Finding, Seen, note, warning

# A Raspberry Pi throttles from 80 °C on, other boards from 85 to 100 °C; a measurement adds ten degrees or more.
_HOT_C = 70.0
_SLOW_PROFILES = ("low-power", "quiet", "cool")
_COOL = "let it cool down, add a fan or a heat sink, and pause between rounds with --cooldown 30s"
_SUPPLIES = {"Raspberry Pi 5": "27 W (5.1 V, 5 A)", "Raspberry Pi 4": "15 W (5.1 V, 3 A)"}


def governor(seen: Seen) -> Finding | None:
    """Warn of a frequency governor other than performance."""
    name = seen.environment.governor
    if name in (None, "performance"):
        return None
    return warning(
        "governor",
        f"the frequency governor is {name}, not performance",
        "the clock follows the load or stays low, so a round depends on what ran before it",
        advice="with cpupower installed, sudo cpupower frequency-set -g performance does the same",
        command="echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    )


def turbo(seen: Seen) -> Finding | None:
    """Note that turbo is on."""
    if seen.environment.turbo is not True:
        return None
    commands = {
        "intel_pstate": "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
        "boost": "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
    }
    return note(
        "turbo",
        "turbo is on",
        "the clock is highest while the CPU is cool and few cores are busy, which favors short runs and few threads",
        advice="turn it off for fair comparisons, leave it on to measure what a user gets",
        command=commands.get(seen.details.turbo_switch or ""),
    )


def throttled(seen: Seen) -> Finding | None:
    """Warn that the CPU is being throttled now."""
    raised = seen.conditions.throttle
    if not raised:
        return None
    return warning(
        "throttled",
        f"the system reports {', '.join(raised)} now",
        "the clock is below its maximum before a measurement even begins",
        advice=_relief(raised, seen.environment.board),
    )


def throttling_unknown(seen: Seen) -> Finding | None:
    """Warn of throttling that cannot be read: that no flag is raised says nothing then."""
    problem = seen.conditions.throttle_problem
    if problem is None:
        return None
    return warning(
        "throttling-unknown",
        problem,
        "a throttled clock or a weak power supply goes unnoticed, and rounds lack the flag throttled",
        advice="install vcgencmd (package raspi-utils, or libraspberrypi-bin), and let this user read /dev/vcio: "
        "group video, and in a container --device /dev/vcio"
        if "vcgencmd" in problem
        else "run that program in a terminal to see what it says",
    )


def throttled_before(seen: Seen) -> Finding | None:
    """Warn that a Raspberry Pi was throttled since boot."""
    raised = seen.details.throttled_before
    if not raised:
        return None
    return warning(
        "throttled-before",
        f"since boot the system reported {', '.join(raised)}",
        "it will happen again under load, and rounds will differ",
        advice=f"{_relief(raised, seen.environment.board)}; a reboot clears these flags",
        command="vcgencmd get_throttled",
    )


def thermal_events(seen: Seen) -> Finding | None:
    """Note that the CPU has counted thermal events."""
    count = seen.conditions.throttle_count
    if not count:
        return None
    return note(
        "thermal-events",
        f"the CPU has counted {count} thermal events since boot",
        "it throttles under load",
        advice=_COOL,
    )


def temperature(seen: Seen) -> Finding | None:
    """Warn of a CPU that is hot before a measurement begins."""
    degrees = seen.conditions.temperature_c
    if degrees is None or degrees < _HOT_C:
        return None
    return warning(
        "temperature",
        f"the CPU is at {degrees:.0f} °C before a measurement begins",
        "it will soon be throttled, so late rounds will be slower than early ones",
        advice=_COOL,
    )


def power_mode(seen: Seen) -> Finding | None:
    """Warn of a power-saving mode."""
    mode, system = seen.environment.power_mode or "", seen.environment.system
    capped = "the system caps the clock and may switch cores off"
    if system == "Darwin" and mode == "low power on":
        return warning("power-mode", "low power mode is on", capped, command="sudo pmset -a lowpowermode 0")
    if mode.startswith("nvpmodel") and seen.details.fastest_power_mode is not None:
        return warning(
            "power-mode",
            f"the power mode is {mode}, not MAXN",
            capped,
            command=f"sudo nvpmodel -m {seen.details.fastest_power_mode}",
        )
    profile = mode.removeprefix("platform profile ")
    if profile in _SLOW_PROFILES:
        best = next((name for name in ("performance", "balanced") if name in seen.details.power_modes), "balanced")
        return warning(
            "power-mode",
            f"the platform profile is {profile}",
            capped,
            command=f"echo {best} | sudo tee /sys/firmware/acpi/platform_profile",
        )
    return None


def battery(seen: Seen) -> Finding | None:
    """Warn of a machine that runs on battery."""
    if not seen.conditions.on_battery:
        return None
    return warning(
        "battery",
        "the machine runs on battery",
        "most systems lower the clock on battery, further as it runs down",
        advice="connect the charger",
    )


def _relief(raised: tuple[str, ...], board: str | None) -> str:
    ways = []
    if "under-voltage" in raised:
        watts = next((power for name, power in _SUPPLIES.items() if name in (board or "")), None)
        ways.append(
            f"use a {watts} power supply and a short cable"
            if watts
            else "use a stronger power supply and a short cable"
        )
    if set(raised) - {"under-voltage"}:
        ways.append(_COOL)
    return "; ".join(ways)


RULES: tuple[Callable[[Seen], Finding | None], ...] = (
    throttled,
    throttling_unknown,
    throttled_before,
    temperature,
    thermal_events,
    power_mode,
    battery,
    governor,
    turbo,
)
