"""Facts from llama.cpp's log: the memory it allocated and the features it enabled.

The C API returns none of these. A missing line leaves None: nothing is guessed.
Source of the lines: src/llama-model.cpp, llama-context.cpp, llama-kv-cache.cpp and llama-memory-recurrent.cpp of the
pinned llama.cpp.
"""

import re
from collections import deque
from collections.abc import Iterable

import msgspec

from profiler.records.config import RunConfig
from profiler.records.round import Buffers
from quant.base.units import format_bytes

_MIB = 1024 * 1024
_SIZE = re.compile(r"^\w+:\s+(\S+)\s+(model|KV|RS|output|compute) buffer size =\s*([\d.]+) MiB")
_MAX_NODES = re.compile(r"max_nodes = (\d+)$")
_FLASH = re.compile(r"Flash Attention (enabled|not supported)")
_CACHE = re.compile(
    r"^llama_(?:kv_cache|memory_recurrent)\w*: size = +([\d.]+) MiB \( *(\d+) cells, +(\d+) layers.*?"
    r"[KR] \(\w+\): +([\d.]+) MiB, [VS] \(\w+\): +([\d.]+) MiB"
)
_NOT_LOCKED = re.compile(
    r"failed to (?:mlock|VirtualLock) (\d+)-byte buffer .*?: (.+)$|mlock not supported on this system"
)
_NOT_DIRECT = re.compile(r"Falling back to buffered I/?O(?: due to (.+))?", re.IGNORECASE)
_OFFLOADED = re.compile(r"offloaded (\d+)/\d+ layers to GPU")
_PLAIN = {"CPU", "CPU_Mapped"}
_KEPT_LINES = 2000
# enum ggml_log_level, ggml.h
DEBUG, INFO, WARNING, ERROR, CONTINUED = range(1, 6)
# llama.cpp's last line about what it did not open; a line before has the reason.
_NO_REASON = re.compile(r"failed to (?:load model(?: from .*)?|initialize the context)$")


class Log:
    """The lines of one process's llama.cpp, newest kept, pieces joined."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._problems: deque[tuple[int, str]] = deque(maxlen=_KEPT_LINES)  # levels and lines
        self._last = ""  # line since the call began
        self._piece = ""
        self._level = INFO

    def feed(self, text: str, level: int = INFO) -> None:
        """Take text as llama.cpp hands it to its log callback: whole lines or pieces of one."""
        if level != CONTINUED:
            self._level = level
        *whole, self._piece = (self._piece + text).split("\n")
        self.lines.extend(whole)
        self._last = next((line for line in reversed(whole) if line.strip()), self._last)
        if self._level in (WARNING, ERROR):
            self._problems.extend((self._level, line) for line in whole if line.strip())

    def begin(self) -> None:
        """Note that a call begins: what was logged before is not why it fails."""
        self._problems.clear()
        self._last = ""

    def problem(self) -> str:
        """Return the last error since the call began, else the last warning, without the name of the function."""
        errors = [line for level, line in self._problems if level == ERROR]
        with_reason = [line for line in errors if not _NO_REASON.search(line.strip())]
        warnings = [line for _, line in self._problems]
        for lines in (with_reason, errors, warnings):
            if lines:
                return re.sub(r"^\w+: ", "", lines[-1].strip())[:300]
        return self._last.strip()[:300] or "llama.cpp gave no reason"


def buffers_of(lines: Iterable[str]) -> Buffers:
    """Add up the buffers by what they hold.

    A file of several shards has one mapped buffer each, so equal model lines add up; a compute buffer is logged again
    when it is reserved again, so the last line of each backend counts.
    """
    model: dict[str, float] = {}
    cache, output, compute = 0.0, {}, {}
    found: set[str] = set()
    for line in lines:
        if not (match := _SIZE.match(line)):
            continue
        name, what, mib = match[1], match[2], float(match[3])
        found.add(what)
        if what == "model":
            model[name] = model.get(name, 0.0) + mib
        elif what in ("KV", "RS"):
            cache += mib
        elif what == "output":
            output[name] = mib
        else:
            compute[name] = mib

    def in_bytes(kind: str, mib: float) -> int | None:
        return round(mib * _MIB) if kind in found else None

    # Buffer types of the CPU other than the plain one hold repacked weights: CPU_REPACK, AMX, CPU_KLEIDIAI, ...
    repacked = sum(mib for name, mib in model.items() if name not in _PLAIN and _on_cpu(name))
    return Buffers(
        weights_bytes=in_bytes("model", sum(mib for name, mib in model.items() if name in _PLAIN)),
        weights_mapped=("CPU_Mapped" in model) if "model" in found else None,
        repacked_bytes=in_bytes("model", repacked),
        device_bytes=in_bytes("model", sum(mib for name, mib in model.items() if not _on_cpu(name))),
        kv_cache_bytes=in_bytes("KV", cache) if "KV" in found else in_bytes("RS", cache),
        compute_bytes=in_bytes("compute", sum(compute.values())),
        output_bytes=in_bytes("output", sum(output.values())),
    )


def _on_cpu(name: str) -> bool:
    return name.startswith(("CPU", "AMX"))


class CacheSize(msgspec.Struct, frozen=True, kw_only=True):
    """One cache as llama.cpp plans it, allocated or not; a model with sliding windows has two."""

    n_cells: int
    n_layers: int
    n_bytes: int


def caches_of(lines: Iterable[str]) -> tuple[CacheSize, ...]:
    """Read the lines about caches. Keys and values are added here, since the log rounds their sum once more."""
    return tuple(
        CacheSize(
            n_cells=int(match[2]), n_layers=int(match[3]), n_bytes=round(_MIB * (float(match[4]) + float(match[5])))
        )
        for line in lines
        if (match := _CACHE.match(line))
    )


def max_nodes_of(lines: Iterable[str]) -> int | None:
    """Return how many nodes llama.cpp makes room for in a graph; None where it did not log it."""
    found = [match[1] for line in lines if (match := _MAX_NODES.search(line))]
    return int(found[-1]) if found else None


def flash_attn_of(lines: Iterable[str], requested: str) -> bool | None:
    """Return whether flash attention is in force: as requested, unless llama.cpp decided."""
    enabled = {"on": True, "off": False}.get(requested)
    for line in lines:
        if match := _FLASH.search(line):
            enabled = match[1] == "enabled"
        elif "enabling flash_attn since it is required" in line:
            enabled = True
        elif "forcing off" in line and "flash_attn" in line:
            enabled = False
    return enabled


def layers_offloaded_of(lines: Iterable[str]) -> int:
    """Return the number of layers on a GPU; 0 in a build without GPUs."""
    return max((int(match[1]) for line in lines if (match := _OFFLOADED.search(line))), default=0)


def ignored_of(lines: Iterable[str], config: RunConfig) -> tuple[str, ...]:
    """Return which requested settings llama.cpp did not put into effect, each with its reason."""
    kept = list(lines)
    found = []
    if "mlock" in config.load_mode and (match := next(filter(None, map(_NOT_LOCKED.search, kept)), None)):
        if match[1]:
            what = f"{format_bytes(int(match[1]))} were not locked: {match[2].strip()}"
            found.append(f"mlock ({what}; raise RLIMIT_MEMLOCK, ulimit -l)")
        else:
            found.append("mlock (this system cannot lock memory)")
    if config.load_mode == "dio" and (match := next(filter(None, map(_NOT_DIRECT.search, kept)), None)):
        found.append(f"direct I/O ({match[1] or 'the file was read through the page cache'})")
    if config.flash_attn == "on" and flash_attn_of(kept, "on") is False:
        found.append("flash attention (this model or type of cache has none)")
    if config.device == "gpu" and 0 <= layers_offloaded_of(kept) < config.n_gpu_layers:
        found.append(f"{config.n_gpu_layers} layers on the GPU ({layers_offloaded_of(kept)} are)")
    return tuple(found)
