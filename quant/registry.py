"""The models that are known by name: models.toml as records."""

import difflib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from quant.errors import UserError


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the registry."""

    name: str
    repo: str
    architecture: str
    license: str
    n_params: int  # unique parameters
    gated: bool = False
    revision: str | None = None
    config: dict[str, Any]

    @property
    def family(self) -> str:
        """Give the model's type as its config names it: llama, qwen2, ..."""
        return str(self.config["model_type"])


def n_params_of(architecture: str, config: dict[str, Any]) -> int:
    """Count the unique parameters of a shape: a tied output matrix counts once.

    Raises:
        UserError: the architecture is unknown here, or the config lacks a size.
    """
    from quant.families import complete_config, find_family, planned_tensors

    family = find_family(architecture)
    planned = planned_tensors(family, complete_config(family, config))
    return sum(each.n_elements for each in planned if not each.optional)


@cache
def load_registry() -> dict[str, ModelSpec]:
    """Give all models by name, smallest first."""
    here = Path(__file__).resolve().parent
    # Inside a wheel the file lies in the package, in a checkout at the top.
    path = next(each for each in (here / "models.toml", here.parent / "models.toml") if each.exists())
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    specs = [msgspec.convert({**table, "name": name}, ModelSpec) for name, table in tables.items()]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: (spec.n_params, spec.name))}


def _plain(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name).lower()


def lookup(name: str) -> ModelSpec | None:
    """Give the model of a name, whose case and `_-.` do not matter; None where there is none."""
    wanted = _plain(name)
    return next((spec for spec in load_registry().values() if _plain(spec.name) == wanted), None)


def find(name: str) -> ModelSpec:
    """Give the model of a name.

    Raises:
        UserError: there is none; the text suggests the nearest.
    """
    if found := lookup(name):
        return found
    raise UserError(f"there is no model '{name}'; {suggestion(name)}see slmprof models")


def suggestion(name: str) -> str:
    """Give "did you mean 'x'? " for a name near a known one, else nothing."""
    by_plain = {_plain(known): known for known in load_registry()}
    near = difflib.get_close_matches(_plain(name[:100]), by_plain, n=1, cutoff=0.6)
    return f"did you mean '{by_plain[near[0]]}'? " if near else ""
