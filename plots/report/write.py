"""Write reports of results into files; the suffix selects the format."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quant.base.errors import UserError

FORMS = (".html", ".md")


def write_reports(
    results: Any,
    paths: Sequence[Path],
    *,
    results_name: str = "results.jsonl",
    criteria: Any = None,
    asked: str = "",
    picks: Sequence[Any] = (),
) -> None:
    """Write each path in the format of its suffix, whole or not at all.

    Raises:
        UserError: a suffix is unknown, or a file cannot be written.
    """
    check_forms(paths)
    from plots.report.content import gather
    from quant.base.files import write_text

    draw = any(_form(path) == ".html" for path in paths)
    report = gather(results, results_name=results_name, draw=draw, criteria=criteria, asked=asked, picks=picks)
    for path in paths:
        if _form(path) == ".html":
            from plots.report.html import to_html

            write_text(path, to_html(report))
        else:
            from plots.report.markdown import to_markdown

            write_text(path, to_markdown(report, results.environments))


def check_forms(paths: Sequence[Path]) -> None:
    """Refuse a name whose suffix is no format.

    Raises:
        UserError: a suffix is unknown.
    """
    for path in paths:
        if _form(path) not in FORMS:
            raise UserError(f"unknown report format: {path}; end the name with {' or '.join(FORMS)}")


def _form(path: Path) -> str:
    return path.suffix.lower()
