"""`slmprof show --memory`: the parts of each cell's memory, their sum, and how far it is from the measured total."""

from collections.abc import Sequence

from profiler.analysis.memory_parts import MemoryParts, memory_parts, typical
from profiler.records.round import Round
from profiler.results.file import Results
from profiler.tables.format import aligned, clean, device_line, threads_in_words
from quant.base.units import MIB, format_params
from quant.gguf_io.artifact import Artifact

_NOTES = """\
- MiB. allocated: from llama.cpp's log; resident: the part of it that takes up memory.
- The weights' mapping and the runtime are the system's figures, everything else is llama.cpp's; the compute buffer
  counts with what the worker grew by while it ran.
- runtime: Python, llama.cpp and ggml with the model's vocabulary, measured before any weight was read, and pages of
  libraries. baseline: the worker before the model was opened; it is not part of the sum.
- measured: anonymous and file-backed at the end, resident at the peak; each without the baseline.
- A remainder above zero is memory without a name: llama.cpp's graph and scheduler, thread stacks, buffers of the load.
  Below zero, memory of the file's header was freed after the load, or reused for buffers.
"""
_HEAD = ["part", "allocated", "anonymous", "file-backed", "resident"]


def render_memory(results: Results) -> str:
    """Write a table per cell, of its ok round with the median total."""
    found = []
    for rounds, artifact, _ in results.cells():
        ok = [record for record in rounds if record.status == "ok"]
        # Of a sustained load the first minute has what the process held.
        if ok := [record for record in ok if record.memory or not record.cell.config.sustain_s]:
            found.append((_order(ok[0], artifact), ok[0].env_id, _block(ok, artifact)))
    if not found:
        return "no cells are measured yet\n"
    blocks, last = [], ""
    for _, env_id, block in sorted(found, key=lambda each: each[0]):
        if env_id != last:
            last = env_id
            if environment := results.environments.get(env_id):
                blocks += [device_line(environment), ""]
        blocks.append(block)
    return "\n".join([*blocks, _NOTES])


def _order(record: Round, artifact: Artifact) -> tuple[object, ...]:
    config = record.cell.config
    return (
        record.env_id,
        artifact.n_params,
        artifact.model,
        artifact.bpw,
        artifact.level,
        config.workload,
        config.load_mode,
        not config.repack,
        config.n_outputs_max,
        config.n_ctx,
        config.n_threads,
        record.cell.key,
    )


def _block(rounds: Sequence[Round], artifact: Artifact) -> str:
    lines = [f"## {_title(rounds[0], artifact)}", ""]
    found = [parts for record in rounds if (parts := memory_parts(record))]
    if not found:
        lines.append("parts unknown: the system reports no memory, or a part of the model is on a GPU")
        return "\n".join([*lines, ""])
    return "\n".join([*lines, *aligned(_rows(typical(found)), last_left=False), ""])


def _title(record: Round, artifact: Artifact) -> str:
    config = record.cell.config
    synthetic = ", SYNTHETIC weights" if artifact.weights != "real" else ""
    settings = [
        f"{config.workload}",
        f"context {config.n_ctx}",
        f"ubatch {config.n_ubatch}",
        f"KV {config.type_k}/{config.type_v}",
        f"load {config.load_mode}",
        "repack" if config.repack else "no repack",
        f"outputs {config.n_outputs_max or 'all'}",
        threads_in_words(config),
    ]
    size = format_params(artifact.n_params, artifact.n_params_active)
    name = f"{clean(artifact.model)} {clean(artifact.level)} ({size}{synthetic})"
    return f"{name}: {clean(', '.join(settings))}"


def _rows(found: MemoryParts) -> list[list[str]]:
    rows = [_HEAD]
    for part in found.parts:
        unknown = part.name == "runtime" and not found.runtime_known
        if part.resident_bytes or part.allocated_bytes or unknown:
            rows.append(
                [
                    part.name,
                    _mib(part.allocated_bytes),
                    _mib(part.anon_bytes or None),
                    _mib(part.file_backed_bytes or None),
                    "unknown" if unknown else _mib(part.resident_bytes),
                ]
            )
    anon = sum(part.anon_bytes for part in found.parts)
    file_backed = sum(part.file_backed_bytes for part in found.parts)
    rows.append(["**sum**", "", _mib(anon), _mib(file_backed), _mib(found.sum_bytes)])
    rows.append(["measured", "", _mib(found.anon_bytes), _mib(found.file_backed_bytes), _mib(found.model_rss_bytes)])
    rows.append(
        [
            "**remainder**",
            "",
            _mib(None if found.anon_bytes is None else found.anon_bytes - anon),
            _mib(None if found.file_backed_bytes is None else found.file_backed_bytes - file_backed),
            f"{_mib(found.remainder_bytes)} ({100 * found.remainder_share:+.1f} %)",
        ]
    )
    rows.append(["baseline", "", "", "", _mib(found.baseline_bytes)])
    rows.append(["peak", "", "", "", _mib(found.peak_bytes)])
    return rows


def _mib(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / MIB:.1f}"
