"""The registry: the models of models.toml, which says in which files of models.d their tables are."""

import difflib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from quant.base.errors import UserError
from quant.convert.vocabulary_kinds import SENTENCEPIECE, VOCABULARY_KEY

# What `like` inherits, besides the config.
_INHERITED = ("architecture", "license", "gated", "tokenizer", "n_params", "n_params_active", "source")
_SPM = "spm"  # SentencePiece, as `tokenizer` names it


class Standin(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A shape of another family with the same tensors and cost, profiled instead of the model."""

    architecture: str
    n_params: int  # unique parameters of this shape
    differs: str  # the differences
    config: dict[str, Any]

    @property
    def family(self) -> str:
        """Return the type of this shape: gpt2, llama, ..."""
        return str(self.config["model_type"])


class ModelSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model of the registry."""

    name: str
    repo: str
    family: str  # the model's type as its config names it: llama, qwen2, ...
    architecture: str
    license: str | None = None
    n_params: int  # unique parameters
    n_params_active: int | None = None  # those that one token uses, of a mixture of experts
    tokenizer: str | None = None  # the kind of its vocabulary, and llama.cpp's name of its pre-tokenizer
    released: str | None = None  # year and month
    survey: str | None = None  # its name in the survey of 59 small models
    gated: bool = False
    revision: str | None = None
    source: str | None = None  # where the shape comes from
    unsupported: str | None = None  # why llama.cpp cannot run it
    standin: Standin | None = None
    config: dict[str, Any]

    @property
    def supported(self) -> bool:
        """Whether llama.cpp runs the model itself, not just a stand-in."""
        return self.unsupported is None

    @property
    def runs_as(self) -> str:
        """What is profiled: "itself", "as gpt2", or "no"."""
        if self.supported:
            return "itself"
        return f"as {self.standin.family}" if self.standin is not None else "no"

    def shape(self) -> dict[str, Any]:
        """Return the config for synthetic weights; a stand-in is marked, and a SentencePiece vocabulary.

        Raises:
            UserError: llama.cpp cannot run the model, and there is no stand-in.
        """
        if self.supported:
            kind = (self.tokenizer or "").partition(" ")[0]
            return {**self.config, **({VOCABULARY_KEY: SENTENCEPIECE} if kind == _SPM else {})}
        if self.standin is None:
            raise UserError(f"{self.name} cannot be profiled: {self.unsupported}; see slmprof models --supported")
        return {
            **self.standin.config,
            "architectures": [self.standin.architecture],
            "slmprof_standin_family": self.family,
        }

    def require_supported(self) -> None:
        """Refuse a model whose own weights llama.cpp cannot run, before they are fetched.

        Raises:
            UserError: it cannot.
        """
        if self.supported:
            return
        if self.standin is None:
            raise UserError(f"{self.name} cannot be profiled: {self.unsupported}; see slmprof models --supported")
        raise UserError(
            f"{self.name} cannot be converted: {self.unsupported}; profile its stand-in of the family "
            f"{self.standin.family} with --weights synthetic"
        )


@cache
def load_registry() -> dict[str, ModelSpec]:
    """Return all models by name, smallest first."""
    here = Path(__file__).resolve().parents[1]
    # In a wheel the files are in the package, in a checkout at the top.
    path = next(each for each in (here / "models.toml", here.parent / "models.toml") if each.exists())
    index = tomllib.loads(path.read_text(encoding="utf-8"))
    tables: dict[str, dict[str, Any]] = {}
    for name in index["files"]:
        tables |= tomllib.loads((path.parent / "models.d" / f"{name}.toml").read_text(encoding="utf-8"))
    specs = [_spec(name, tables) for name in tables]
    return {spec.name: spec for spec in sorted(specs, key=lambda spec: (spec.n_params, spec.name))}


def _spec(name: str, tables: dict[str, dict[str, Any]]) -> ModelSpec:
    """Return one record from a table and the tables that it inherits from."""
    table = tables[name]
    config = {**table.get("config", {}), **dict.fromkeys(table.get("nulls", ()))}
    table = {key: value for key, value in table.items() if key not in ("config", "nulls")}
    if "like" in table:
        base = msgspec.to_builtins(_spec(table["like"], tables))
        config = {**base["config"], **config}
        table = {key: base[key] for key in _INHERITED} | {key: value for key, value in table.items() if key != "like"}
    return msgspec.convert({"family": config["model_type"], **table, "name": name, "config": config}, ModelSpec)


def _plain(name: str) -> str:
    return re.sub(r"[-_.\s]", "", name).lower()


def lookup(name: str) -> ModelSpec | None:
    """Return the model with a name, ignoring case and `_-.`; None if there is none."""
    wanted = _plain(name)
    return next((spec for spec in load_registry().values() if _plain(spec.name) == wanted), None)


def unsupported_repo(repo: str) -> ModelSpec | None:
    """Return the model of a hub repository if llama.cpp cannot run it, else None."""
    wanted = repo.lower()
    return next((spec for spec in load_registry().values() if spec.repo.lower() == wanted and not spec.supported), None)


def matching(
    text: str | None = None,
    *,
    most_params: int | None = None,
    family: str | None = None,
    supported: bool = False,
) -> list[ModelSpec]:
    """Return the models that match all conditions, smallest first.

    Args:
        text: part of the name, repository, family, licence or survey name, ignoring case and `_-.`.
        supported: only models that llama.cpp runs themselves.

    Raises:
        UserError: there is no such family.
    """
    specs = list(load_registry().values())
    families = sorted({spec.family for spec in specs})
    if family is not None and family.lower() not in families:
        raise UserError(f"there is no family '{family}' in the registry; there are {', '.join(families)}")
    return [
        spec
        for spec in specs
        if (most_params is None or spec.n_params <= most_params)
        and (family is None or spec.family == family.lower())
        and (spec.supported or not supported)
        and (text is None or any(_plain(text) in _plain(each or "") for each in _searched(spec)))
    ]


def _searched(spec: ModelSpec) -> tuple[str | None, ...]:
    return spec.name, spec.repo, spec.family, spec.license, spec.survey


def suggestion(name: str) -> str:
    """Return "did you mean 'x'? " for a name similar to a known one, else ""."""
    by_plain = {_plain(known): known for known in load_registry()}
    near = difflib.get_close_matches(_plain(name[:100]), by_plain, n=1, cutoff=0.6)
    return f"did you mean '{by_plain[near[0]]}'? " if near else ""
