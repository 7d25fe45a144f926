"""report.html: one file that loads nothing from the network.

The template escapes every value (jinja2's autoescape) after `visible` has replaced characters without a shape;
only our own chart elements, style and script are written as they are. A policy in the page forbids every request and
every script but our own, known by its hash.
"""

import base64
import hashlib
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from plots.report.cells import data_of
from plots.report.content import Report
from plots.report.escaping import json_in_html, visible
from profiler import __version__

_MOST_CHARS = 8000  # a command with many files


def to_html(report: Report) -> str:
    """Return the page; the same report always makes the same bytes."""
    script = _part("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return rendered(
        _part("page.html"),
        report=report,
        script=script,
        script_hash=f"sha256-{digest}",
        data=json_in_html(data_of(report.columns)),
    )


def rendered(template: str, **values: Any) -> str:
    """Return a page in this style, with the values in it escaped."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True
    )
    text: str = environment.from_string(template).render(version=__version__, style=_part("page.css"), **values)
    return text


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _shown(value: Any) -> Any:
    """Make every text visible before it is escaped; markup of our own stays."""
    return visible(value, _MOST_CHARS) if isinstance(value, str) and not hasattr(value, "__html__") else value
