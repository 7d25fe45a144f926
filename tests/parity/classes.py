"""Every text class of the pinned converter: converted by ours, or why not."""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from quant.base.errors import UserError
from quant.convert.families import find_family
from tests.families import variants
from tests.parity.not_converted import REASONS
from tests.parity.oracle import Oracle


class TextClass(NamedTuple):
    """A class name of config.json that the pinned converter makes a text model's file of."""

    name: str
    arch: str  # in GGUF


class _Definition(NamedTuple):
    bases: tuple[str, ...]
    names: tuple[str, ...]  # in config.json
    arch: str | None


def text_classes(sources: Path) -> list[TextClass]:
    """Return the text classes of a converter's sources, by architecture."""
    definitions = dict(chain.from_iterable(_definitions(path) for path in sorted(sources.glob("*.py"))))
    found = {
        TextClass(name, arch)
        for definition, (_, names, _) in definitions.items()
        if (arch := _arch(definitions, definition)) is not None and "TextModel" in _ancestors(definitions, definition)
        for name in names
    }
    return sorted(found, key=lambda each: (each.arch, each.name))


def _definitions(path: Path) -> Iterator[tuple[str, _Definition]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ClassDef):
            names = tuple(
                argument.value
                for call in node.decorator_list
                if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "register"
                for argument in call.args
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
            )
            archs = [
                ast.unparse(line.value).rsplit(".", 1)[-1].lower()
                for line in node.body
                if isinstance(line, ast.Assign) and ast.unparse(line.targets[0]) == "model_arch"
            ]
            bases = tuple(ast.unparse(base) for base in node.bases)
            yield node.name, _Definition(bases, names, archs[0] if archs else None)


def _ancestors(definitions: dict[str, _Definition], name: str) -> Iterator[str]:
    yield name
    for base in definitions[name].bases if name in definitions else ():
        yield from _ancestors(definitions, base)


def _arch(definitions: dict[str, _Definition], name: str) -> str | None:
    archs = (definitions[each].arch for each in _ancestors(definitions, name) if each in definitions)
    return next((arch for arch in archs if arch is not None), None)


def is_converted(name: str) -> bool:
    """Return whether a family of ours has the class, or its text model converts in one of the variants."""
    try:
        find_family(name)
    except UserError:
        return name in {variant.config["architectures"][0] for variant in variants().values()}
    return True


def compare_classes(oracle: Oracle) -> tuple[bool, list[dict[str, str]]]:
    """List the classes; each is converted or has a reason, and no reason is of a class that is converted."""
    rows = [
        {"name": each.name, "arch": each.arch, "reason": "" if is_converted(each.name) else REASONS.get(each.name, "?")}
        for each in text_classes(oracle.llama_cpp / "conversion")
    ]
    done = [row for row in rows if not row["reason"]]
    print(
        f"classes: {len(done)} of {len(rows)} text classes convert, {len({row['arch'] for row in done})} of "
        f"{len({row['arch'] for row in rows})} architectures"
    )
    unknown = [row["name"] for row in rows if row["reason"] == "?"]
    stale = sorted(name for name in REASONS if is_converted(name))
    print(f"  neither converted nor a reason: {', '.join(unknown) or 'none'}")
    print(f"  converted and yet with a reason: {', '.join(stale) or 'none'}")
    return not unknown and not stale, rows
