"""`slmprof doctor`: the device, and what would spoil a measurement on it."""

import json
import re
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from quant.base.units import KIB, format_bytes

if TYPE_CHECKING:
    from profiler.doctor.advice import Finding
    from profiler.doctor.diagnosis import Diagnosis
    from profiler.records.record import CoreKind, Environment

_WIDTH = 80
_LABEL = 11


@click.command()
@click.option(
    "--json", "as_json", is_flag=True, help="Print one object: device, build, conditions, findings, energy, ceilings."
)
@click.option(
    "--bandwidth",
    is_flag=True,
    help="Measure how fast memory is read and weights are multiplied, in half a minute or more, and keep it: later "
    "results then tell how much of it decode used.",
)
def doctor(as_json: bool, bandwidth: bool) -> None:
    """Describe the device and its llama.cpp, what would spoil a measurement, and the command that mends it.

    Nothing is changed. The exit status is 0 whatever is found.

    \b
    slmprof doctor
    slmprof doctor --bandwidth
    """
    from profiler.cli.ceilings import beside_object, beside_rows, ceiling_of
    from profiler.device.energy.find import find_meter
    from profiler.doctor.diagnosis import diagnose, to_object

    diagnosis = diagnose()
    ceiling, meter = ceiling_of(diagnosis, measure=bandwidth), find_meter(diagnosis.seen.environment.board)
    if as_json:
        click.echo(json.dumps(to_object(diagnosis) | beside_object(ceiling, meter), indent=2))
    else:
        rows, table = beside_rows(ceiling, meter)
        click.echo(render(diagnosis, rows, table))


def render(diagnosis: "Diagnosis", rows_more: Sequence[tuple[str, str]] = (), table: Sequence[str] = ()) -> str:
    """Write a diagnosis for a terminal of 80 columns; only a long word can pass them."""
    rows = [line for label, text in [*_description(diagnosis), *rows_more] for line in _row(label, text)]
    rows += ["", *table] if table else []
    warnings = [finding for finding in diagnosis.findings if finding.severity == "warning"]
    notes = [finding for finding in diagnosis.findings if finding.severity != "warning"]
    if warnings:
        count = "One thing here would" if len(warnings) == 1 else f"{len(warnings)} things here would"
        rows += ["", f"{count} spoil a measurement:"]
    else:
        rows += ["", "Nothing here would spoil a measurement."]
    for finding in warnings:
        rows += ["", *_finding(finding)]
    if notes:
        rows += ["", "To know when results are compared:"]
    for finding in notes:
        rows += ["", *_finding(finding)]
    return "\n".join(rows)


def _description(diagnosis: "Diagnosis") -> list[tuple[str, str]]:
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
        ("threads", f"{', '.join(map(str, diagnosis.threads))} unless -t tells others"),
    ]
    return [(label, text) for label, text in rows if text]


def _cores(environment: "Environment") -> str:
    text = f"{environment.cores_physical} cores"
    if environment.cores_logical != environment.cores_physical:
        text += f", {environment.cores_logical} CPUs"
    kinds = [kind for kind in environment.core_kinds if kind.name != "all" or kind.max_mhz]
    return f"{text}: {', '.join(map(_kind, kinds))}" if kinds else text


def _kind(kind: "CoreKind") -> str:
    from profiler.doctor.advice.load import ranges

    words = "all" if kind.name == "all" else f"{kind.name} {ranges(kind.cpus)}"
    return f"{words} up to {kind.max_mhz:.0f} MHz" if kind.max_mhz else words


def _row(label: str, text: str) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _finding(finding: "Finding") -> list[str]:
    lines = _paragraph(f"- {finding.fact}")
    lines += _paragraph("  " + " ".join(f"{_begun(text)}." for text in (finding.effect, finding.advice) if text))
    if finding.command:
        lines += wrap_command(finding.command)
    return lines


def _begun(sentence: str) -> str:
    first, _, _ = sentence.partition(" ")
    return sentence[0].upper() + sentence[1:] if first.rstrip(",").isalpha() else sentence


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def wrap_command(command: str, width: int = _WIDTH) -> list[str]:
    """Break a command between its words so that it can be copied: a line goes on after a pipe or a backslash."""
    first, more = " " * 4, " " * 6
    lines, line = [], first
    for word in re.findall(r"(?:'[^']*'|\"[^\"]*\"|[^\s'\"])+", command):
        after_pipe = line.endswith(" |") and len(first) + len(command) > width
        if line.strip() and (after_pipe or len(line) + len(word) + len(" ") + len(" \\") > width):
            lines.append(line if after_pipe else f"{line} \\")
            line = more
        line += f" {word}" if line.strip() else word
    return [*lines, line]
