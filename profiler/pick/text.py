"""The answer of a pick, as text and as JSON."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from profiler.deploy.files import relative_path
from profiler.deploy.make import deploy_of
from profiler.deploy.records import Deploy
from profiler.pick.session import Pick
from profiler.recommend.limits import limits_text
from profiler.records.cell_summary import CellSummary
from profiler.tables.format import clean, figure_with_range, threads_in_words
from quant.base.text import counted, pretty_json
from quant.base.units import format_bytes

SCHEMA = 1


def status_of(pick: Pick) -> str:
    """Return how far a pick is and how sure, in a sentence without its full stop."""
    verdict = pick.verdict
    n_open = counted(len(verdict.open), "candidate")
    if verdict.chosen is None:
        why = "nothing meets the limits" if verdict.decided else f"the budget ended with {n_open} open"
        return f"{'decided' if verdict.decided else 'not decided yet'}: {why}"
    if not verdict.decided:
        return f"not decided yet: the best answer so far, with an error of up to {verdict.error:.0%}; {n_open} open"
    if verdict.error > pick.most_error:
        return (
            f"decided as far as these rounds tell candidates apart: with an error of up to {verdict.error:.0%}, for "
            f"which {pick.most_error:.0%} was asked"
        )
    return f"decided, with an error of at most {pick.most_error:.0%}"


def render(pick: Pick, summaries: Sequence[CellSummary]) -> str:
    """Return the answer of one pick as text."""
    verdict = pick.verdict
    model = clean(pick.candidates.model)
    if verdict.chosen is None:
        lines = [f"## {model}: no choice", "", f"- {verdict.reason}.", f"- {status_of(pick)}."]
        return "\n".join([*lines, *_limits(pick), *_closing(pick), ""])
    entry, cell = pick.entry(verdict.chosen), summary_of(pick, verdict.chosen, summaries)
    synthetic = " (SYNTHETIC weights)" if pick.candidates.synthetic else ""
    lines = [f"## {model}{synthetic}: {entry.level} with {threads_in_words(entry)}", ""]
    if pick.chosen is not None:
        size = format_bytes(pick.chosen.artifact.file_bytes)
        lines.append(f"- file: {pick.chosen.path} ({size}, {pick.chosen.artifact.bpw:.2f} bits per weight)")
    if cell is not None:
        lines += [f"- {line}" for line in _figures(cell)]
    lines.append(f"- why: {verdict.reason}.")
    lines += _limits(pick)
    if verdict.tied:
        lines.append(
            f"- a tie with {', '.join(map(clean, verdict.tied))}: these rounds do not tell which is faster. Within "
            "2 % of expected speed quality decides, then memory, then bits per weight"
        )
    if verdict.runner_up is not None and verdict.runner_up not in verdict.tied:
        lines.append(f"- the best of another level: {clean(verdict.runner_up)}")
    lines += [f"- {status_of(pick)}", f"- {_effort(pick)}", *_closing(pick)]
    if (deploy := _deploy(pick, cell)) is not None:
        lines += ["", f"run it: {deploy.llama_server}"]
    return "\n".join([*lines, ""])


def _deploy(pick: Pick, cell: CellSummary | None) -> Deploy | None:
    """Return what runs the choice from the current folder."""
    if cell is None or pick.chosen is None:
        return None
    return deploy_of(cell, model_path=relative_path(pick.chosen.path, Path()), n_ctx=pick.limits.n_ctx)


def summary_of(pick: Pick, key: str, summaries: Sequence[CellSummary]) -> CellSummary | None:
    """Return the figures of an entry; None where it has none."""
    cell = pick.cells.get(key)
    return next((each for each in summaries if cell is not None and each.cell_key == cell.key), None)


def _figures(cell: CellSummary) -> list[str]:
    spans = {"decode": (cell.decode_tps, "t/s"), "prefill": (cell.prefill_tps, "t/s"), "TTFT": (cell.ttft_ms, "ms")}
    speed = ", ".join(f"{name} {figure_with_range(span)} {unit}" for name, (span, unit) in spans.items() if span)
    rest = []
    if cell.model_rss_bytes is not None:
        rest.append(f"memory {format_bytes(cell.model_rss_bytes.value)} at a context of {cell.config.n_ctx}")
    if (kld := cell.quality.kld) is not None:
        rest.append(f"KLD {kld.value:.3g} ± {kld.se:.1g}")
    return [f"{speed} ({counted(cell.rounds, 'round')})", *([", ".join(rest)] if rest else [])]


def _limits(pick: Pick) -> list[str]:
    return [f"- limits: {text}"] if (text := limits_text(pick.limits)) else []


def _effort(pick: Pick) -> str:
    n_rounds = sum(each.observed is not None for each in pick.events)
    n_scores = sum(each.kld is not None for each in pick.events)
    wall_s = sum(each.observed.wall_s for each in pick.events if each.observed)
    scores = f" and {counted(n_scores, 'score')}" if n_scores else ""
    return (
        f"{counted(n_rounds, 'round')}{scores} of {counted(len(pick.candidates.entries), 'candidate')}, {wall_s:.0f} s"
    )


def _closing(pick: Pick) -> list[str]:
    return ["- the same command again continues"] if pick.over_budget else []


def to_json(picks: Sequence[Pick], summaries: Sequence[CellSummary]) -> str:
    """Return the answers as JSON, with these names: {"schema", "picks": [...]}."""
    return pretty_json({"schema": SCHEMA, "picks": [_object(pick, summaries) for pick in picks]}) + "\n"


def _object(pick: Pick, summaries: Sequence[CellSummary]) -> dict[str, object]:
    verdict = pick.verdict
    chosen = None
    if verdict.chosen is not None:
        entry, cell = pick.entry(verdict.chosen), summary_of(pick, verdict.chosen, summaries)
        chosen = {
            **msgspec.to_builtins(entry),
            "file": str(pick.chosen.path) if pick.chosen else None,
            "cell_key": pick.cells[entry.key].key if entry.key in pick.cells else None,
            "rounds": cell.rounds if cell else 0,
            **{
                name: msgspec.to_builtins(getattr(cell, name)) if cell else None
                for name in ("decode_tps", "prefill_tps", "ttft_ms", "model_rss_bytes")
            },
            "deploy": msgspec.to_builtins(_deploy(pick, cell)),
            "kld": cell.quality.kld.value if cell and cell.quality.kld else None,
            "kld_se": cell.quality.kld.se if cell and cell.quality.kld else None,
        }
    return {
        "source": pick.source,
        "model": pick.candidates.model,
        "weights": "synthetic" if pick.candidates.synthetic else "real",
        "limits": msgspec.to_builtins(pick.limits),
        "decided": verdict.decided,
        "chosen": chosen,
        "tied": list(verdict.tied),
        "runner_up": verdict.runner_up,
        "error": verdict.error,
        "reason": verdict.reason,
        "open": list(verdict.open),
        "eliminated": msgspec.to_builtins(verdict.eliminated),
        "standings": msgspec.to_builtins(verdict.standings),
        "dropped": msgspec.to_builtins(pick.candidates.dropped),
        "rounds": sum(each.observed is not None for each in pick.events),
        "over_budget": pick.over_budget,
    }
