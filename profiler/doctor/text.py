"""A diagnosis for a terminal of 80 columns; only a single long word is wider."""

import re
import textwrap
from datetime import UTC, datetime

from profiler.device.affinity import cpu_ranges
from profiler.device.energy.meter import Meter, NoMeter
from profiler.doctor.advice import Finding
from profiler.doctor.ceilings import render_ceiling
from profiler.doctor.diagnosis import Diagnosis
from profiler.records.environment import CoreKind, Environment
from quant.base.text import counted
from quant.base.units import KIB, format_bytes

WIDTH = 80
_LABEL = 11


def render(diagnosis: Diagnosis, now: datetime | None = None) -> str:
    """Return the description of the device, its measured ceilings, then warnings and notes with their commands."""
    lines = [line for label, text in _description(diagnosis) for line in _row(label, text)]
    if diagnosis.ceiling is not None:
        lines += ["", *render_ceiling(diagnosis.ceiling, now or datetime.now(UTC), WIDTH)]
    warnings = [finding for finding in diagnosis.findings if finding.severity == "warning"]
    notes = [finding for finding in diagnosis.findings if finding.severity != "warning"]
    if warnings:
        subject = "1 thing" if len(warnings) == 1 else f"{len(warnings)} things"
        lines += ["", f"{subject} here would spoil a measurement:"]
    else:
        lines += ["", "Nothing here would spoil a measurement."]
    for finding in warnings:
        lines += ["", *_finding(finding)]
    if notes:
        lines += ["", "Keep in mind when comparing results:"]
    for finding in notes:
        lines += ["", *_finding(finding)]
    return "\n".join(lines)


def _description(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    seen = diagnosis.seen
    environment = seen.environment
    system = f"{environment.system} {environment.system_release}, {environment.machine}"
    memory = f"{format_bytes(environment.memory_bytes)}, {format_bytes(seen.available_bytes)} available"
    if environment.memory_limit_bytes is not None and environment.memory_limit_bytes < environment.memory_bytes:
        memory += f", limited to {format_bytes(environment.memory_limit_bytes)}"
    library = f"{environment.llama_commit}, llama-cpp-python {environment.binding_version}"
    rows = [
        ("board", environment.board),
        ("CPU", environment.cpu_model),
        ("cores", _cores(environment)),
        ("memory", f"{memory}, pages of {environment.page_bytes // KIB} KiB"),
        ("system", f"{seen.details.os_name}, {system}" if seen.details.os_name else system),
        ("llama.cpp", f"{library}, {'OpenMP' if environment.threading == 'openmp' else 'its own'} threads"),
        ("backends", ", ".join(environment.backends)),
        ("features", ", ".join(environment.cpu_features)),
        ("threads", f"{', '.join(map(str, diagnosis.threads))} by default; -t changes it"),
        ("energy", describe_meter(diagnosis.meter)),
        ("bandwidth", "" if diagnosis.ceiling else "not measured in this environment; run slmprof doctor --bandwidth"),
    ]
    return [(label, text) for label, text in rows if text]


def describe_meter(meter: Meter | NoMeter) -> str:
    """Return the energy source and how it is read, or why there is none."""
    if isinstance(meter, NoMeter):
        return f"none: {meter.reason}"
    method = f"sampled every {meter.interval_ms} ms" if meter.interval_ms else "a counter, read before and after decode"
    return f"{meter.source}, {method}: {meter.covers}"


def _cores(environment: Environment) -> str:
    text = counted(environment.cores_physical, "core")
    if environment.affinity is not None:
        text += " that this process may use"
    if environment.cores_logical != environment.cores_physical:
        text += f", {environment.cores_logical} CPUs"
    kinds = [kind for kind in environment.core_kinds if kind.name != "all" or kind.max_mhz]
    return f"{text}: {', '.join(map(_kind, kinds))}" if kinds else text


def _kind(kind: CoreKind) -> str:
    words = "all" if kind.name == "all" else f"{kind.name} {cpu_ranges(kind.cpus)}"
    return f"{words} up to {kind.max_mhz:.0f} MHz" if kind.max_mhz else words


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _finding(finding: Finding) -> list[str]:
    lines = _paragraph(f"- {finding.fact}")
    lines += _paragraph("  " + " ".join(f"{_capitalized(text)}." for text in (finding.effect, finding.advice) if text))
    if finding.command:
        lines += wrap_command(finding.command)
    return lines


def _capitalized(sentence: str) -> str:
    """Capitalize a sentence unless it begins with a name like llama.cpp."""
    first, _, _ = sentence.partition(" ")
    return sentence[0].upper() + sentence[1:] if first.rstrip(",").isalpha() else sentence


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def wrap_command(command: str, width: int = WIDTH) -> list[str]:
    """Break a command between words so that it can still be pasted: a shell continues after a pipe or a backslash."""
    first, more = " " * 4, " " * 6
    lines, line = [], first
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+", command):
        after_pipe = line.endswith(" |") and len(first) + len(command) > width
        if line.strip() and (after_pipe or len(line) + len(word) + len(" ") + len(" \\") > width):
            lines.append(line if after_pipe else f"{line} \\")
            line = more
        line += f" {word}" if line.strip() else word
    return [*lines, line]
