"""report.md: the report for a pull request or a wiki, without charts."""

from collections.abc import Sequence

from plots.report.content import Report
from plots.report.escaping import markdown, visible
from profiler.records.environment import Environment
from profiler.tables.format import aligned
from profiler.tables.speed import render
from quant.base.text import counted

_MOST_CELLS = 200  # more than a page of a wiki takes


def to_markdown(report: Report, environments: dict[str, Environment]) -> str:
    """Return answer, table, warnings, environment and commands."""
    lines = [f"# {markdown(report.title)}", "", markdown(report.subtitle), ""]
    lines += [*_pairs(report.setup), ""] if report.setup else []
    lines += ["## Answer", "", f"**{markdown(report.answer.headline)}**", ""]
    lines += [f"**{markdown(report.synthetic)}**", ""] if report.synthetic else []
    if report.choices:
        rows = [[markdown(choice.file), *choice.figures, markdown(choice.costs)] for choice in report.choices]
        lines += [*aligned([report.choice_names, *rows]), ""]
    lines += [*(f"- {markdown(reason)}" for reason in report.answer.reasons), ""]
    lines += ["## Cells", "", *_cells(report, environments), ""]
    lines += ["## Tasks", "", *_tasks(report)] if report.tasks else []
    lines += ["## Warnings", "", *_cautions(report)]
    lines += ["## Environment", ""]
    for facts in report.environments:
        lines += [f"### {markdown(facts.title)}", "", *_pairs(facts.rows), ""]
    lines += ["### Files", "", *_pairs(report.files), ""]
    lines += ["## How it was measured", "", *_pairs(report.methods), ""]
    lines += ["## Commands", "", *_block([*report.commands, *report.show_commands])]
    lines += ["### Run the answer", "", "In the folder that holds models/:", ""] if report.runs else []
    for title, text in report.runs:
        lines += [f"{markdown(title)}:", "", *_block(text, "sh" if len(text) == 1 else "")]
    return "\n".join(lines) + "\n"


def _cells(report: Report, environments: dict[str, Environment]) -> list[str]:
    shown = report.summaries[:_MOST_CELLS]
    # The top of the report names the rounds, and the device where there is one.
    named = environments if len(environments) > 1 else {}
    tables = render(shown, named, with_rounds=not report.setup).splitlines()
    # The table's own titles are one level deeper here; no text in it begins a line with a number sign.
    lines = [f"#{line}" if line.startswith("## ") else line for line in tables]
    if left := len(report.summaries) - len(shown):
        lines += ["", f"and {left} more cells: `{report.show_commands[1]}`"]
    return lines


def _tasks(report: Report) -> list[str]:
    lines: list[str] = []
    for table in report.tasks:
        lines += [f"### {markdown(table.title)}", ""]
        lines += (
            [*aligned([tuple(map(markdown, row)) for row in table.rows], last_left=False), ""] if table.rows else []
        )
        lines += [*(f"- {markdown(note)}" for note in table.notes), ""]
    return lines


def _cautions(report: Report) -> list[str]:
    lines = [text for notice in report.notices for text in (markdown(notice), "")]
    if not report.cautions:
        return [*lines, "None: no figure was disturbed, and no cell failed.", ""]
    for caution in report.cautions:
        lines += [f"### {markdown(caution.name)}: {counted(caution.n_cells, 'cell')}", ""]
        lines += [f"- **{markdown(each.cell)}**: {markdown(each.message)}" for each in caution.examples]
        if left := caution.n_cells - len(caution.examples):
            lines.append(f"- and {left} more")
        lines += ["", markdown(caution.fix), ""]
        lines += _block([caution.command]) if caution.command else []
    return lines


def _pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- {markdown(name)}: {markdown(value)}" for name, value in rows]


def _block(commands: Sequence[str], language: str = "sh") -> list[str]:
    """Return a block of code; its fence is one that no command can end."""
    shown = [visible(command, 8000) for command in commands]
    fence = "```"
    while any(fence in command for command in shown):
        fence += "`"
    return [f"{fence}{language}", *shown, fence, ""]
