"""Every family has variants for the parity target, and every variant a family."""

from quant.convert.families import families, find_family
from tests.families import variants


def test_every_family_has_at_least_two_variants() -> None:
    converted: dict[str, int] = {}
    for variant in variants().values():
        architecture = variant.config["architectures"][0]
        family = find_family(architecture)
        converted[family.arch] = converted.get(family.arch, 0) + 1
    lacking = {family.arch for family in families().values() if converted.get(family.arch, 0) < 2}
    assert lacking == set()
