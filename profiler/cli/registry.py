"""The registry as text: one line for each model, and all that is known of one."""

import textwrap
from collections.abc import Iterator, Sequence

from quant.base.units import format_params
from quant.sources.registry import ModelSpec

_UNKNOWN = "?"
_WIDTH = 100
_LABEL = 12
_SHORT = 4  # a longer list is shown by its ends


def listing(specs: Sequence[ModelSpec]) -> Iterator[str]:
    """Give a heading and a line for each model, in columns as wide as they must be."""
    rows = [("name", "params", "date", "family", "runs", "license"), *map(_row, specs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            text.rjust(width) if column == 1 else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _row(spec: ModelSpec) -> tuple[str, ...]:
    license_name = f"{spec.license or _UNKNOWN}{' (gated)' if spec.gated else ''}"
    released = spec.released or _UNKNOWN
    return spec.name, format_params(spec.n_params), released, spec.family, spec.runs_as, license_name


def details(spec: ModelSpec) -> Iterator[str]:
    """Give what a table has no room for, in lines of at most 100 columns."""
    yield ""
    for label, text in _facts(spec):
        indent = " " * _LABEL
        yield from textwrap.wrap(
            text, _WIDTH, initial_indent=label.ljust(_LABEL), subsequent_indent=indent, break_on_hyphens=False
        )


def _facts(spec: ModelSpec) -> Iterator[tuple[str, str]]:
    at = f" at {spec.revision}" if spec.revision else ""
    yield "repository", f"{spec.repo}{at}"
    if spec.survey is not None:
        yield "survey", f"{spec.survey} in arXiv 2409.15790"
    yield "parameters", f"{spec.n_params:,}, unique"
    yield "shape from", f"{spec.source or _UNKNOWN}"
    yield "shape", f"{spec.architecture}: {_settings(spec.config)}"
    if spec.unsupported is not None:
        yield "runs", f"not itself: {spec.unsupported}"
    if spec.standin is not None:
        more = 100 * (spec.standin.n_params - spec.n_params) / spec.n_params
        yield "stand-in", f"{spec.standin.architecture} with --weights synthetic: {_settings(spec.standin.config)}"
        yield "", f"{spec.standin.n_params:,} parameters ({more:+.2f} %); differs: {spec.standin.differs}"


def _settings(config: dict[str, object]) -> str:
    return ", ".join(f"{key} {_short(value)}" for key, value in config.items() if key != "model_type")


def _short(value: object) -> str:
    if isinstance(value, list):
        return f"[{value[0]} … {value[-1]}]" if len(value) > _SHORT else f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} {_short(each)}" for key, each in value.items()) + "}"
    return str(value)
