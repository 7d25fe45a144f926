"""A report of a pick begins with its answer and the race that led to it."""

import io
import shlex
from collections.abc import Sequence

from plots.report.answer import Answer, AnswerRow, reached
from plots.report.charts import Chart, inlined
from profiler.pick.progress import elimination_lines
from profiler.pick.session import Pick
from profiler.pick.text import status_of, summary_of
from profiler.recommend.limits import limits_text, set_limits
from profiler.records.cell_summary import CellSummary
from quant.gguf_io.artifact import Artifact

_MOST_LINES = 20


def answer_of_picks(picks: Sequence[Pick], summaries: Sequence[CellSummary]) -> Answer:
    """Return what was picked, as the answer of a report."""
    found = [(pick, summary_of(pick, pick.verdict.chosen or "", summaries)) for pick in picks]
    chosen = [(pick, cell) for pick, cell in found if cell is not None]
    if not chosen:
        headline = "No choice: nothing meets the limits"
    elif len(picks) == 1:
        headline = reached(chosen[0][1])
    else:
        headline = f"{len(chosen)} choices, one for each model"
    reasons = []
    for pick in picks:
        named = f"{pick.candidates.model}: " if len(picks) > 1 else ""
        reasons += [f"{named}{_sentence(pick.verdict.reason)}", f"{named}{_sentence(status_of(pick))}"]
        reasons += [f"{named}{_sentence(line)}" for line in _who_is_out(pick)]
    if limits := limits_text(picks[0].limits):
        reasons.insert(0, f"Limits: {limits}.")
    return Answer(
        headline=headline,
        reasons=reasons,
        rows=_rows(chosen, summaries),
        chosen=chosen[0][1] if len(chosen) == 1 else None,
    )


def _who_is_out(pick: Pick) -> list[str]:
    """Return a line for each level that was dropped, and each reason for which candidates went out."""
    entries = {entry.key: entry for entry in pick.candidates.entries}
    lines = [f"dropped: {each.level}: {each.why}" for each in pick.candidates.dropped]
    lines += elimination_lines(pick.verdict.eliminated, entries)
    left = len(lines) - _MOST_LINES
    return lines if left <= 0 else [*lines[:_MOST_LINES], f"and {left} more, which the chart of the race shows"]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _rows(chosen: Sequence[tuple[Pick, CellSummary]], summaries: Sequence[CellSummary]) -> list[AnswerRow]:
    rows = []
    for pick, cell in chosen:
        rows.append(AnswerRow(cell=cell, is_best=True, costs="chosen"))
        others = dict.fromkeys(pick.verdict.tied, "as good as the choice at this precision")
        if pick.verdict.runner_up is not None:
            others.setdefault(pick.verdict.runner_up, "the best of another level")
        for key, words in others.items():
            if (other := summary_of(pick, key, summaries)) is not None:
                rows.append(AnswerRow(cell=other, is_best=False, costs=words))
    return rows


def commands_of_picks(picks: Sequence[Pick]) -> list[str]:
    """Return the commands that pick again."""
    commands = []
    for pick in picks:
        words = ["slmprof", "pick", pick.candidates.model if pick.chosen is None else _source_of(pick.chosen.artifact)]
        for rule, limit in set_limits(pick.limits):
            words += [rule.option, rule.typed(limit)]
        words += ["--n-ctx", str(pick.limits.n_ctx)] if pick.limits.n_ctx else []
        words += ["--weights", "synthetic"] if pick.candidates.synthetic else []
        commands.append(shlex.join(words))
    return commands


def _source_of(artifact: Artifact) -> str:
    return artifact.source or artifact.standin_for or artifact.model


def race_charts_of(picks: Sequence[Pick]) -> list[Chart]:
    """Draw the races as elements of a page."""
    import matplotlib.pyplot as plt

    from plots.canvas.style import drawing, find_style
    from plots.charts.race import race_chart

    style, charts = find_style("web"), []
    for number, pick in enumerate(picks, 1):
        with drawing(style):
            made = race_chart(pick, style)
            if isinstance(made, str):
                continue
            text = io.StringIO()
            try:
                made.figure.savefig(text, format="svg", metadata={"Date": None, "Creator": "slmprof"})
            finally:
                plt.close(made.figure)
        charts.append(inlined(text.getvalue(), f"race of {pick.candidates.model}", f"race{number}-"))
    return charts
