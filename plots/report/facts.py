"""What a reader must know besides the numbers: the device and its build, and how each number was obtained."""

from collections.abc import Sequence
from operator import attrgetter

import msgspec

from profiler.analysis.quality_by_file import comparable
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Environment
from profiler.results.file import Results
from quant.base.text import counted
from quant.base.units import format_bytes, format_params


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Names and values under a title."""

    title: str
    rows: list[tuple[str, str]]


def environments_of(results: Results, summaries: Sequence[CellSummary]) -> list[Facts]:
    """Return a description of every device and build, the one with most cells first."""
    counts: dict[str, int] = {}
    for cell in summaries:
        counts[cell.env_id] = counts.get(cell.env_id, 0) + 1
    ordered = sorted(counts, key=lambda env_id: (-counts[env_id], env_id))
    return [_environment(env_id, results.environments.get(env_id), counts[env_id]) for env_id in ordered]


def _environment(env_id: str, environment: Environment | None, n_cells: int) -> Facts:
    cells = counted(n_cells, "cell")
    if environment is None:
        return Facts(title=f"Environment {env_id}, {cells}", rows=[("known", "nothing: the results lack its record")])
    kinds = []
    for kind in environment.core_kinds:
        name = "" if kind.name == "all" else f" {kind.name}"
        kinds.append(f"{len(kind.cpus)}{name}" + (f" at {kind.max_mhz:.0f} MHz" if kind.max_mhz else ""))
    limit = environment.memory_limit_bytes
    rows: list[tuple[str, str | None]] = [
        ("board", environment.board),
        ("CPU", environment.cpu_model),
        ("cores", f"{environment.cores_physical} physical, {environment.cores_logical} logical"),
        ("kinds of cores", ", ".join(kinds) or None),
        ("CPUs allowed", None if environment.affinity is None else ", ".join(map(str, environment.affinity))),
        ("CPU limit", None if environment.cpu_quota is None else f"{environment.cpu_quota:g} CPUs"),
        ("memory", format_bytes(environment.memory_bytes) + (f", limited to {format_bytes(limit)}" if limit else "")),
        ("pages", f"{format_bytes(environment.page_bytes)}, huge pages {environment.huge_pages or 'unknown'}"),
        ("system", f"{environment.system} {environment.system_release}, {environment.machine}"),
        ("governor", environment.governor),
        ("turbo", None if environment.turbo is None else "on" if environment.turbo else "off"),
        ("power mode", environment.power_mode),
        ("llama.cpp", f"{environment.llama_commit}, llama-cpp-python {environment.binding_version}"),
        ("built for", ", ".join(environment.cpu_features) or None),
        ("threading", environment.threading),
        ("backends", ", ".join(environment.backends)),
        ("devices", "; ".join(f"{device.name}: {device.description}" for device in environment.devices) or None),
        ("variables", ", ".join(f"{k}={v}" for k, v in sorted(environment.thread_variables.items())) or None),
    ]  # fmt: skip
    return Facts(
        title=f"{environment.board or environment.cpu_model} ({env_id}, {cells})",
        rows=[(name, value) for name, value in rows if value],
    )


def files_of(results: Results, summaries: Sequence[CellSummary], most: int) -> list[tuple[str, str]]:
    """Return the files that were measured and their origin, at most `most` of them."""
    wanted = dict.fromkeys(cell.artifact.sha256 for cell in summaries)
    rows = []
    for sha256 in list(wanted)[:most]:
        artifact = results.artifacts[sha256]
        origin = artifact.source or "a file"
        origin += f" at {artifact.revision}" if artifact.revision else ""
        if artifact.weights != "real":
            origin = f"SYNTHETIC weights in the shape of {artifact.standin_for or '?'}"
        if artifact.standin_family:
            origin += f", STAND-IN for {artifact.standin_family}"
        imatrix = ", with an importance matrix" if artifact.imatrix_sha256 else ""
        n_params = format_params(artifact.n_params, artifact.n_params_active)
        what = f"{n_params} parameters, {artifact.level}, {artifact.bpw:.2f} bits per weight"
        size = f"{format_bytes(artifact.file_bytes)}{imatrix}"
        rows.append((artifact.file_name, f"{what}, {size}; {origin}; sha256 {sha256[:16]}…"))
    if len(wanted) > most:
        rows.append(("…", f"and {len(wanted) - most} more files"))
    return rows


_STEADY = (
    "requests one after the other in one process; of the cuts in the first half, the minutes after the one that leaves "
    "their mean the smallest standard error (MSER); all speeds of such a cell are of these"
)
# Where a figure is -> what it is called, and how it was obtained.
_FIGURES = {
    "ttft_ms": ("time to first token", "prefill and choosing the token, without load and tokenization"),
    "token_gaps": ("gap between tokens, p95", "95 % of the single decode steps of all rounds took no longer"),
    "model_rss_bytes": ("memory", "peak resident size of the process, less its size before the model was opened"),
    "mbu": (
        "bandwidth",
        "MBU: weights read per second of decode, as a share of the bandwidth measured at that or the next thread count",
    ),
    "energy.joules_per_token": (
        "J/token",
        "energy of decode per token of everything the source covers, idle power included",
    ),
    "energy.joules_per_request": ("J/request", "energy of a request's prefill and decode, from the same source"),
    "sustained": ("steady state", _STEADY),
}
_ROUND = (
    "a fresh process; one warm-up with a whole prefill and some decode steps; the KV cache is cleared before each "
    "repetition; rounds of all cells take turns in a seeded random order"
)
_DEPTHS = {"separate": "at the stated depth", "request": "after its own prompt"}


def methods_of(summaries: Sequence[CellSummary], results: Results) -> list[tuple[str, str]]:
    """Return how each kind of number in the report was obtained."""
    measured = [cell for cell in summaries if cell.rounds]
    rows: list[tuple[str, str]] = []
    if targets := sorted({cell.target for cell in measured if cell.target is not None}):
        within = " or ".join(f"{target * 100:g} %" for target in targets)
        until = f"rounds were repeated until the interval was within {within} of the median"
        rows.append(("when to stop", f"{until}; intervals are wide enough for such a stop"))
    rows.append(("a round", _ROUND))
    rows.append(("prefill", "prompt tokens divided by the time until their logits are there"))
    depth = " or ".join(words for mode, words in _DEPTHS.items() if any(cell.config.mode == mode for cell in summaries))
    rows.append(("decode", f"tokens of a fixed sequence divided by the sum of their single steps, {depth}"))
    rows += [row for name, row in _FIGURES.items() if any(attrgetter(name)(cell) is not None for cell in summaries)]
    rows += [*_quality_rows(summaries, results), *_task_rows(summaries, results)]
    rows.append(("bits per weight", "8 times the bytes of the tensors, per unique parameter"))
    return rows


def _quality_rows(summaries: Sequence[CellSummary], results: Results) -> list[tuple[str, str]]:
    shown = {(cell.artifact.sha256, cell.config.cache) for cell in summaries if cell.quality.ppl is not None}
    records = [record for scored, record in comparable(results).records.items() if scored in shown]
    if not records:
        return []
    first = records[0]
    windows = sorted({record.n_chunks for record in records})
    text = (
        f"{_span(windows)} windows of {first.n_ctx} tokens of {first.text_name} "
        f"(sha256 {first.text_sha256[:8]}…), of each the second half"
    )
    rows = [("perplexity", f"as llama-perplexity defines it, over {text}; ± is the standard error")]
    references = {record.reference_sha256 for record in records if record.divergence is not None}
    levels = sorted({results.artifacts[sha256].level for sha256 in references if sha256 in results.artifacts})
    if levels:
        named = " or ".join(levels)
        mean = "mean Kullback-Leibler divergence of the next token's distribution from that of"
        rows.append(("KLD", f"{mean} {named} with an f16 KV cache, in nats"))
    return rows


def _task_rows(summaries: Sequence[CellSummary], results: Results) -> list[tuple[str, str]]:
    shown = {cell.artifact.sha256 for cell in summaries if cell.accuracy.mean is not None}
    records = [record for record in results.tasks if record.artifact_sha256 in shown and record.status == "ok"]
    if not records:
        return []
    names = ", ".join(dict.fromkeys(record.task for record in records))
    harness = " and ".join(sorted({record.harness for record in records}))
    asked = f"share of right answers in {names} of lm-evaluation-harness {harness}, its prompts and metrics"
    lost = "from the same items, answered by the unquantized file; the interval is a bootstrap over items"
    return [("accuracy", asked), ("lost accuracy", lost)]


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if values[0] == values[-1] else f"{values[0]} to {values[-1]}"
