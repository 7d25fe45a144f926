"""`slmprof models`: the registry as a table or as JSON, and the details of one model."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from quant.base.errors import UserError
from quant.base.text import pretty_json
from quant.base.units import format_params, parse_count

if TYPE_CHECKING:
    from quant.sources.registry import ModelSpec

_UNKNOWN = "?"
_WIDTH = 100
_LABEL = 12
_ACTIVE = 2  # the column that is shown where a model has experts
_SHORT = 4  # of a longer list only the first and the last value are shown


@click.command()
@click.argument("text", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every field.")
@click.option("--max-params", metavar="COUNT", help="Only models up to this size, like 1B or 500M.")
@click.option("--family", metavar="NAME", help="Only models of this family, like llama or qwen2.")
@click.option("--supported", is_flag=True, help="Only models that llama.cpp runs, no stand-ins.")
def models(text: str | None, as_json: bool, max_params: str | None, family: str | None, supported: bool) -> None:
    """List the models in the registry, smallest first; with TEXT only those that match it.

    TEXT is searched for in names, repositories, families and licenses. A model whose architecture llama.cpp lacks runs
    "as" another family with the same tensors and cost, its stand-in, and only with --weights synthetic; "no" means that
    it has no stand-in. Of a mixture of experts "active" are the parameters that one token uses.

    \b
    slmprof models --max-params 1B
    slmprof models qwen --supported
    slmprof models opt-125m
    """
    from quant.sources.registry import lookup, matching

    most = parse_count(max_params) if max_params else None
    found = matching(text, most_params=most, family=family, supported=supported)
    if as_json:
        click.echo(_to_json(found))
        return
    if not found:
        raise UserError("no model matches; drop a filter, or see slmprof models")
    for line in listing(found):
        click.echo(line)
    detailed = found[0] if len(found) == 1 else lookup(text) if text else None
    if detailed is not None and detailed in found:
        for line in details(detailed):
            click.echo(line)
    elif sys.stdout.isatty():
        click.echo(_totals(found), err=True)


def _to_json(specs: "Sequence[ModelSpec]") -> str:
    import msgspec

    fields = [msgspec.to_builtins(spec) | {"supported": spec.supported} for spec in specs]
    return pretty_json(fields)


def _totals(specs: "Sequence[ModelSpec]") -> str:
    n_standins = sum(spec.standin is not None for spec in specs)
    n_without = sum(not spec.supported and spec.standin is None for spec in specs)
    parts = [f"{len(specs)} models"]
    parts += [f"{n_standins} only as a stand-in"] if n_standins else []
    parts += [f"{n_without} not at all"] if n_without else []
    return f"{', '.join(parts)}; details of one: slmprof models {specs[0].name}"


def listing(specs: "Sequence[ModelSpec]") -> Iterator[str]:
    """Yield a heading and a line per model, in aligned columns; what does not fit is cut."""
    from profiler.tables.format import columns

    heading = ("name", "params", "active", "date", "family", "runs", "license")
    rows = [heading, *map(_row, specs)]
    if all(spec.n_params_active is None for spec in specs):
        rows = [(*row[:_ACTIVE], *row[_ACTIVE + 1 :]) for row in rows]
    for cells in columns(rows, {0, *range(len(rows[0]) - 4, len(rows[0]))}):
        line = "  ".join(cells).rstrip()
        yield line if len(line) <= _WIDTH else f"{line[: _WIDTH - 1]}…"


def _row(spec: "ModelSpec") -> tuple[str, ...]:
    license_name = f"{spec.license or _UNKNOWN}{' (gated)' if spec.gated else ''}"
    active = "" if spec.n_params_active is None else format_params(spec.n_params_active)
    released = spec.released or _UNKNOWN
    return spec.name, format_params(spec.n_params), active, released, spec.family, spec.runs_as, license_name


def details(spec: "ModelSpec") -> Iterator[str]:
    """Yield what the table has no room for, in lines of at most 100 columns."""
    yield ""
    for label, text in _facts(spec):
        indent = " " * _LABEL
        yield from textwrap.wrap(
            text,
            _WIDTH,
            initial_indent=label.ljust(_LABEL),
            subsequent_indent=indent,
            break_on_hyphens=False,
            break_long_words=False,
        )


def _facts(spec: "ModelSpec") -> Iterator[tuple[str, str]]:
    at = f" at {spec.revision}" if spec.revision else ""
    yield "repository", f"{spec.repo}{at}"
    if spec.survey is not None:
        yield "survey", f"{spec.survey} in arXiv 2409.15790"
    active = "" if spec.n_params_active is None else f"; a token uses {spec.n_params_active:,}"
    yield "parameters", f"{spec.n_params:,}, unique{active}"
    if spec.tokenizer is not None:
        yield "vocabulary", spec.tokenizer
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
