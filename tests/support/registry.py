"""Models of the registry, by their names."""

from quant.sources.registry import ModelSpec, lookup


def find(name: str) -> ModelSpec:
    """The model of a name that there is."""
    spec = lookup(name)
    assert spec is not None, name
    return spec
