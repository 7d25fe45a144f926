"""Write the survey into a folder: survey.html, survey.md, and the figures in charts/."""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from plots.report.escaping import markdown, visible
from plots.report.html import rendered
from plots.survey.content import COLUMNS, ORDER, Page, method, page_of
from plots.survey.records import Survey
from profiler.tables.format import aligned
from quant.base.files import write_text

CHARTS = "charts"


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """Write page and figures, and return the paths of the pages."""
    page = page_of(survey, folder / CHARTS)
    paths = [folder / "survey.html", folder / "survey.md"]
    for path, text in zip(paths, (to_html(page), to_markdown(page)), strict=True):
        write_text(path, text)
    return paths


def to_html(page: Page) -> str:
    """Return the page as one file that loads nothing."""
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    return rendered(template, page=page, columns=COLUMNS, order=ORDER, method=method())


def to_markdown(page: Page) -> str:
    """Return the page with its figures beside it, in charts/."""
    lines = [f"# {markdown(page.title)}", "", markdown(page.subtitle), "", *_pairs(page.setup), "", "## Answers", ""]
    for answer in page.answers:
        lines += [f"### {markdown(answer.question)}", "", f"**{markdown(answer.verdict)}**", ""]
        lines += [f"- Rests on: {markdown(answer.basis)}", *(f"- {markdown(reason)}" for reason in answer.reasons)]
        lines += [f"- Published: {markdown(answer.published)}", ""]
    lines += ["## Figures", ""]
    for figure in page.figures:
        shown = f"![{markdown(figure.title)}]({CHARTS}/{figure.name}.png)" if figure.chart else markdown(figure.note)
        lines += [f"### {markdown(figure.title)}", "", shown, ""]
    lines += ["## Models", "", *([markdown(page.check), ""] if page.check else [])]
    lines += [*aligned([list(COLUMNS), *([markdown(text) for text in row] for row in page.rows)]), ""]
    lines += ["## What is not measured", "", *(f"- {markdown(note)}" for note in page.notes), ""]
    lines += ["## How it was measured", "", *_pairs(method()), "", ORDER, ""]
    lines += [*(f"1. {markdown(stage)}" for stage in page.order), ""]
    fence = "```"
    command = visible(page.command, 8000)
    while fence in command:
        fence += "`"
    lines += [f"{fence}sh", command, fence]
    return "\n".join(lines) + "\n"


def _pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    return [f"- {markdown(name)}: {markdown(value)}" for name, value in rows]
