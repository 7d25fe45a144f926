"""Names of Arm cores, which /proc/cpuinfo identifies by number only.

Source: the MIDR_EL1 implementer and part numbers of Arm and NVIDIA, as util-linux's lscpu lists them.
"""

import re

_ARM, _NVIDIA = "0x41", "0x4e"
_PARTS = {
    (_ARM, "0xb76"): "ARM1176",
    (_ARM, "0xc07"): "Cortex-A7",
    (_ARM, "0xd03"): "Cortex-A53",
    (_ARM, "0xd04"): "Cortex-A35",
    (_ARM, "0xd05"): "Cortex-A55",
    (_ARM, "0xd07"): "Cortex-A57",
    (_ARM, "0xd08"): "Cortex-A72",
    (_ARM, "0xd09"): "Cortex-A73",
    (_ARM, "0xd0a"): "Cortex-A75",
    (_ARM, "0xd0b"): "Cortex-A76",
    (_ARM, "0xd0c"): "Neoverse-N1",
    (_ARM, "0xd0d"): "Cortex-A77",
    (_ARM, "0xd40"): "Neoverse-V1",
    (_ARM, "0xd41"): "Cortex-A78",
    (_ARM, "0xd42"): "Cortex-A78AE",
    (_ARM, "0xd44"): "Cortex-X1",
    (_ARM, "0xd46"): "Cortex-A510",
    (_ARM, "0xd47"): "Cortex-A710",
    (_ARM, "0xd48"): "Cortex-X2",
    (_ARM, "0xd49"): "Neoverse-N2",
    (_ARM, "0xd4b"): "Cortex-A78C",
    (_ARM, "0xd4d"): "Cortex-A715",
    (_ARM, "0xd4e"): "Cortex-X3",
    (_ARM, "0xd4f"): "Neoverse-V2",
    (_ARM, "0xd80"): "Cortex-A520",
    (_ARM, "0xd81"): "Cortex-A720",
    (_ARM, "0xd82"): "Cortex-X4",
    (_NVIDIA, "0x003"): "Denver 2",
    (_NVIDIA, "0x004"): "Carmel",
}
_MAKERS = {_ARM: "Arm", _NVIDIA: "NVIDIA"}


def cpu_name(cpuinfo: str) -> str | None:
    """Return the names of the kinds of cores, "Arm Cortex-A76 + Arm Cortex-A55"; None on another CPU."""
    makers = re.findall(r"^CPU implementer\s*:\s*(0x[0-9a-f]+)", cpuinfo, re.MULTILINE)
    parts = re.findall(r"^CPU part\s*:\s*(0x[0-9a-f]+)", cpuinfo, re.MULTILINE)
    return " + ".join(_name(*pair) for pair in dict.fromkeys(zip(makers, parts, strict=False))) or None


def _name(maker: str, part: str) -> str:
    known = _PARTS.get((maker, part))
    if known:
        return f"{_MAKERS[maker]} {known}"
    return f"{_MAKERS.get(maker, f'implementer {maker}')} part {part}"
