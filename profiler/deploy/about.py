"""What every file says about itself, a line each, without the mark of a comment."""

from profiler.deploy.records import Plan
from quant.base.text import counted, printable
from quant.base.units import format_bytes


def about(plan: Plan) -> list[str]:
    """Return which file it is, what was measured of it, and what else a reader must know."""
    artifact, config = plan.cell.artifact, plan.config
    threads = counted(config.n_threads, "thread")
    lines = [
        f"{printable(f'{artifact.model} {artifact.level}')} with {threads}, as slmprof measured it: {_figures(plan)}",
        f"The file is {printable(artifact.file_name, '?')}, sha256 {printable(artifact.sha256)}",
    ]
    if plan.n_ctx != config.n_ctx:
        lines.append(f"The context was {config.n_ctx} when it was measured, so the KV cache has another size here.")
    if artifact.weights != "real":
        lines.append("The weights are synthetic: it runs, and writes nonsense.")
    return lines


def _figures(plan: Plan) -> str:
    cell = plan.cell
    rates = (("decode", cell.decode_tps), ("prefill", cell.prefill_tps))
    figures = [f"{name} {span.value:.4g} tokens/s" for name, span in rates if span]
    figures += [f"{format_bytes(cell.model_rss_bytes.value)} of memory"] if cell.model_rss_bytes else []
    return ", ".join(figures) or "without figures"


def commented(mark: str, lines: list[str]) -> list[str]:
    """Return lines as comments."""
    return [f"{mark} {line}" for line in lines]
