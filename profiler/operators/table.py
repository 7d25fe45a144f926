"""The operator report as text for a terminal of 100 columns."""

import textwrap
from collections.abc import Sequence

from profiler.operators.classify import MODULES
from profiler.operators.report import OperatorReport
from profiler.operators.summary import Breakdown, BreakdownRow
from profiler.tables.format import clean, synthetic_note
from quant.base.units import format_bytes, format_params

WIDTH = 100
_MS, _US, _G = 1e6, 1e3, 1e9
_NS = 1e9
_HEAT = "▁▂▃▄▅▆▇█"
_NOISE = 0.05  # runs were disturbed where the groups' own medians and a run's median differ by a larger share
_NAME = 16


def render(report: OperatorReport) -> str:
    """Return the whole report."""
    blocks = [_heading(report)]
    for phase, breakdown in report.phases.items():
        blocks.append("\n".join(_phase(phase, breakdown)))
    blocks.append("\n".join(_sums(report)))
    blocks.append("\n".join(_notes(report)))
    return "\n\n".join(blocks) + "\n"


def _heading(report: OperatorReport) -> str:
    size = format_params(report.n_params, report.n_params_active) + synthetic_note(report.weights, report.standin_for)
    flash = {True: "on", False: "off", None: "unknown"}[report.flash_attn]
    backends = "+".join(map(clean, report.backends))
    device = f"{clean(report.cpu_model)}; llama.cpp {clean(report.llama_commit)}, {backends}; flash attention {flash}"
    lines = [f"{clean(report.model)} ({size}), {clean(report.level)}, {report.threads}", device]
    return "\n".join(line for text in lines for line in textwrap.wrap(text, WIDTH))


def _phase(phase: str, found: Breakdown) -> list[str]:
    plain_ns = found.sums.plain_ns
    what = f"Prefill of {found.n_tokens} tokens" if phase == "prefill" else "One decode step"
    speed = f"{found.n_tokens * _NS / plain_ns:.1f} t/s" if plain_ns else ""
    lines = [f"{what} at depth {found.depth}: {plain_ns / _MS:.2f} ms unobserved, {speed}", ""]
    with_ceiling = any(row.of_ceiling is not None for row in found.operators)
    lines += [_head("module", with_ceiling), *(_row(row, with_ceiling) for row in found.modules), ""]
    lines += [_head("operator", with_ceiling), *(_row(row, with_ceiling) for row in found.operators)]
    if found.layers:
        lines += ["", *_strips(found)]
    return lines


def _head(first: str, with_ceiling: bool) -> str:
    line = f"{first:{_NAME}} {'calls':>6} {'time ms':>10} {'share':>7}  {'moved':>10} {'GB/s':>7} {'GFLOP/s':>8}"
    return line + (f" {'of ceiling':>11}" if with_ceiling else "")


def _row(row: BreakdownRow, with_ceiling: bool) -> str:
    line = (
        f"{clean(row.name)[:_NAME]:{_NAME}} {row.calls:6} {row.ns / _MS:10.3f} {row.share:7.1%}  "
        f"{format_bytes(row.n_bytes):>10} {_rate(row.bytes_per_s):>7} {_rate(row.flops_per_s):>8}"
    )
    if with_ceiling:
        share = "" if row.of_ceiling is None else f"{row.of_ceiling:.0%}"
        line += f" {share:>11}"
    return line.rstrip()


def _rate(per_s: float | None) -> str:
    return "" if per_s is None else f"{per_s / _G:.{1 if per_s >= 10 * _G else 2}f}"


def _strips(found: Breakdown) -> list[str]:
    """Return one line for whole layers and one per module, each scaled from 0 to its own slowest layer."""
    layers = found.layers
    lines = [f"Layers {layers[0].layer} to {layers[-1].layer}, each from 0 to the slowest of its line:"]
    parts = [("all", [row.ns for row in layers])]
    for name in MODULES:
        values = [row.modules.get(name, 0.0) for row in layers]
        if sum(values) > 0.02 * sum(row.ns for row in layers):
            parts.append((name, values))
    for name, values in parts:
        strip = heat(values)
        ends = f"{min(values) / _MS:.3f} to {max(values) / _MS:.3f} ms"
        # A model of very many layers takes several lines.
        room = WIDTH - _NAME - len(ends) - 3
        pieces = [strip[start : start + room] for start in range(0, len(strip), room)]
        lines.append(f"{name:{_NAME}} {pieces[0]}  {ends}")
        lines += [f"{'':{_NAME}} {piece}" for piece in pieces[1:]]
    return lines


def heat(values: Sequence[float]) -> str:
    """Return a bar of eight heights for each value, from 0 to the largest."""
    top = max(values, default=0.0)
    if top <= 0:
        return _HEAT[0] * len(values)
    return "".join(_HEAT[min(len(_HEAT) - 1, max(0, int(len(_HEAT) * value / top)))] for value in values)


def _sums(report: OperatorReport) -> list[str]:
    columns = f"{'raw sum':>10} {'correction':>11} {'corrected':>10} {'unobserved':>11}"
    lines = [f"{'ms per run':{_NAME}} {columns}  gap [lowest, highest]"]
    for phase, found in report.phases.items():
        sums = found.sums
        lines.append(
            f"{phase:{_NAME}} {sums.raw_ns / _MS:10.3f} {sums.correction_ns / _MS:11.3f} "
            f"{sums.corrected_ns / _MS:10.3f} {sums.plain_ns / _MS:11.3f}  "
            f"{sums.gap:+.1%} [{sums.gap_lowest:+.1%}, {sums.gap_highest:+.1%}]"
        )
    return lines


def _notes(report: OperatorReport) -> list[str]:
    notes = []
    for phase, found in report.phases.items():
        sums = found.sums
        if abs(sums.quiet_ns - sums.corrected_ns) > _NOISE * sums.corrected_ns:
            notes.append(
                f"noisy: the {phase} runs were disturbed. The nodes' own medians add up to {sums.quiet_ns / _MS:.3f} "
                f"ms, a run's to {sums.corrected_ns / _MS:.3f} ms; the shares above are of the former. Stop other "
                "programs, or raise -r"
            )
    for phase, found in report.phases.items():
        constants = found.constants
        text = (
            f"correction of {phase}: {constants.noop_ns / _US:.2f} µs for each of {found.n_groups} nodes, measured on "
            f"{constants.n_noops} that compute nothing (RESHAPE, VIEW, PERMUTE, TRANSPOSE)"
        )
        if constants.n_joins:
            text = (
                f"correction of {phase}: {constants.noop_ns / _US:.2f} µs for a node in one thread, measured on "
                f"{constants.n_noops} that compute nothing (RESHAPE, VIEW, PERMUTE, TRANSPOSE); "
                f"{constants.threaded_ns / _US:.2f} µs for one in {report.n_threads} threads, measured on "
                f"{constants.n_joins} pairs of small decode neighbours, once apart and once together"
            )
        notes.append(text)
    notes.append(
        "observed, every node is a graph of its own; the correction subtracts what that costs, and nothing is scaled "
        "to the unobserved time. RMS_NORM and the MUL after it stay one, since ggml fuses them"
    )
    notes.append(
        f"medians over {report.reps} repetitions, each paired with an unobserved one; the gap compares corrected "
        "sum and unobserved time within each pair. An unobserved run includes llama.cpp's work outside the nodes"
    )
    notes.append(
        "moved: bytes of all operands, each once, from memory or from a cache; GB/s and GFLOP/s are 10^9 per second; "
        "GFLOP/s counts matrix products only; other: residual sums and the choice of rows"
    )
    if report.weights != "real":
        notes.append("synthetic: the weights are random; speed depends on their shapes and types, not on values")
    if report.ceiling_bytes_per_s is None:
        notes.append(
            f"the read bandwidth was not measured with {report.threads}, so there is no share of it; "
            "slmprof doctor --bandwidth measures it"
        )
    else:
        notes.append(
            f"of ceiling: GB/s as a share of the {report.ceiling_bytes_per_s / _G:.1f} GB/s that this device reads "
            f"with {report.threads}; a cache can deliver more"
        )
    return [
        line
        for note in notes
        for line in textwrap.wrap(note, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)
    ]
