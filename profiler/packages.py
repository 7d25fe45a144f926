"""Check that slmprof's three packages come from one place. Standard library only: `quant` may be another's."""

import importlib.util
from pathlib import Path


def check_packages() -> str | None:
    """Return why slmprof cannot run: `quant` or `plots` is not next to this package; None if all are."""
    here = Path(__file__).resolve().parent.parent
    for name in ("quant", "plots"):
        folder = _folder_of(name)
        if folder == here:
            continue
        if folder is None:
            return f"the package '{name}' is missing; reinstall slmprof"
        return (
            f"the package '{name}' comes from {_owner(name) or folder}, not from slmprof; "
            "install slmprof with pipx or in a venv of its own"
        )
    return None


def _folder_of(name: str) -> Path | None:
    """Return the folder that contains a package, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:  # a folder, even one without an __init__.py
        return Path(next(iter(spec.submodule_search_locations))).resolve().parent
    return Path(spec.origin).resolve().parent if spec.origin else None


def _owner(name: str) -> str | None:
    from importlib.metadata import packages_distributions

    others = [distribution for distribution in packages_distributions().get(name, []) if distribution != "slmprof"]
    return f"the distribution '{others[0]}'" if others else None
