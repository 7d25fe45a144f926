"""RAPL: the energy used by a CPU package and its memory, as x86 CPUs count it.

A package includes its cores and its graphics, but not the memory ("dram"). "psys" is the whole platform and includes
both; not every board connects it, so it is ignored.
Source: the kernel's Documentation/power/powercap/powercap.rst; AMD's CPUs show the same zones under the same names.
"""

from pathlib import Path

from profiler.device.energy.meter import Meter, NoMeter
from profiler.device.os.files import read_int, read_text

_FOLDER = "sys/class/powercap"


def find(root: Path) -> Meter | NoMeter | None:
    """Return the counters, the reason why they cannot be read, or None where there are none."""
    zones = {
        path: name
        for path in sorted((root / _FOLDER).glob("intel-rapl:*"))
        if (name := read_text(path / "name")) and (name.startswith("package") or name == "dram")
    }
    if not zones:
        return None
    files = {f"{path.name} {name}": path / "energy_uj" for path, name in zones.items()}
    if any(read_int(file) is None for file in files.values()):
        return NoMeter(
            "the CPU counts its energy (RAPL), but only root may read it; until the next boot, "
            f"sudo chmod a+r /{_FOLDER}/intel-rapl:*/energy_uj lets every user do so"
        )
    ranges = {key: read_int(file.with_name("max_energy_range_uj")) or 0 for key, file in files.items()}

    def read() -> dict[str, int]:
        found = {key: read_int(file) for key, file in files.items()}
        return {key: value for key, value in found.items() if value is not None}

    kinds = "packages and memory" if "dram" in zones.values() else "packages, without memory"
    return Meter(source="RAPL", covers=f"CPU {kinds}", ranges_uj=ranges, read_counters_uj=read)
