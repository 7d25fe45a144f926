"""Every family has variants for the parity target, and every variant a family."""

from quant.convert.families import families, family_of
from tests.families import variants


def test_every_family_has_at_least_two_variants() -> None:
    converted: dict[str, int] = {}
    for variant in variants().values():
        family = family_of(variant.config)
        converted[family.arch] = converted.get(family.arch, 0) + 1
    lacking = {family.arch for family in families().values() if converted.get(family.arch, 0) < 2}
    assert lacking == set()
