"""How likely a level is good enough, or better than another: from its KLD as far as it is scored, else from its bits.

KLD of a level that was not scored is expected at EXPECTED_KLD for 4.6 bits per weight, a factor of e lower for each
1 / SLOPE bits more, within a factor of e^SPREAD: wide enough that it only orders what is measured first. Nothing is
decided by it, except that a level with SURE_BITS more than another has the better quality.
"""

import math
from collections.abc import Sequence

import numpy as np

from profiler.pick.model import tails
from profiler.pick.records import Quality
from profiler.recommend.rule import Bar

UNQUANTIZED_BITS = 15.0  # F16, BF16 and F32 are the reference, or as good
SURE_BITS = 1.5
EXPECTED_KLD, EXPECTED_BITS, SLOPE, SPREAD = 0.04, 4.6, 1.35, 0.9
_UNSURE = 0.05  # no guess is surer than this, nor as sure as a choice must be
_SAME_BITS = 0.005
_SAME_KLD, _SAME_SHARE = 0.0005, 0.05  # smaller differences, absolute or relative, are a tie
_Z_95 = 1.96


class Qualities:
    """The quality of all levels."""

    def __init__(
        self, bits: dict[str, float], bar: Bar, looks: Sequence[int], *, by_kld: bool, f16_cache: bool = True
    ) -> None:
        """Take the bits per weight of every level, and the numbers of windows at which a KLD is looked at.

        Args:
            by_kld: KLD decides, not bits per weight.
            f16_cache: the KV cache is not quantized, so that an unquantized file is the reference.
        """
        self.bits, self._f16_cache = bits, f16_cache
        self.scored: dict[str, Quality] = {}
        self.bar, self._looks, self._by_kld = bar, looks, by_kld

    def next_windows(self, level: str) -> int | None:
        """Return how many windows would say more about a level; None where all are scored or none is needed."""
        if not self._by_kld or self._is_reference(level):
            return None
        done = self.scored[level].n_windows if level in self.scored else 0
        return next((look for look in self._looks if look > done), None)

    def meets_bar(self, level: str) -> float:
        """Return the probability that a level's quality is good enough."""
        if self.bar.min_bpw is not None:
            return 1.0 if round(self.bits[level], 2) >= self.bar.min_bpw else 0.0
        most = self.bar.max_kld
        if most is None or self._is_reference(level):
            return 1.0
        found = self.scored.get(level)
        if found is None:
            return _guess((math.log(most) - self._expected_log(level)) / SPREAD)
        if self.next_windows(level) is None:
            return 1.0 if found.kld + _Z_95 * found.kld_se <= most else 0.0
        return _tail((found.kld - most) / max(found.kld_se, 1e-9), max(found.n_windows - 1, 1))

    def better(self, level: str, other: str) -> float:
        """Return the probability that the first level's quality is better, and by more than a tie."""
        more_bits = self.bits[level] - self.bits[other]
        if level == other or not self._by_kld:
            return 1.0 if more_bits > _SAME_BITS and level != other else 0.0
        one, two = self._known(level), self._known(other)
        if one is None or two is None:
            mine, its = self.expected(level), self.expected(other)
            if more_bits <= -SURE_BITS:
                return 0.0
            if more_bits >= SURE_BITS and its * math.exp(-2 * SPREAD) > _SAME_KLD:
                return 1.0
            spread = SPREAD * math.sqrt((one is None) + (two is None))
            return _guess(math.log(max(its, 1e-9) / (mine + max(_SAME_KLD, _SAME_SHARE * its))) / spread)
        margin = max(_SAME_KLD, _SAME_SHARE * max(one.kld, two.kld))
        se = max(math.hypot(one.kld_se, two.kld_se), 1e-9)
        lead = two.kld - one.kld
        if self.next_windows(level) is None and self.next_windows(other) is None:
            return 1.0 if lead > max(margin, _Z_95 * se) else 0.0
        return _tail((margin - lead) / se, max(min(one.n_windows, two.n_windows) - 1, 1))

    def expected(self, level: str) -> float:
        """Return the KLD as it is known, or expected from the bits; by bits alone, fewer are more."""
        known = self._known(level)
        if not self._by_kld:
            return -self.bits[level]
        return known.kld if known else math.exp(self._expected_log(level))

    def fewer_windows(self, level: str, other: str) -> list[str]:
        """Return the one of two levels that was scored on fewer windows, or both."""
        done = {name: self.scored[name].n_windows if name in self.scored else 0 for name in (level, other)}
        open_ = [name for name in done if self.next_windows(name) is not None]
        return [name for name in open_ if done[name] == min(done[each] for each in open_)]

    def _known(self, level: str) -> Quality | None:
        if self._is_reference(level) and level not in self.scored:
            return Quality(n_windows=self._looks[-1], kld=0.0, kld_se=0.0)
        return self.scored.get(level)

    def _is_reference(self, level: str) -> bool:
        return self._f16_cache and self.bits[level] >= UNQUANTIZED_BITS

    def _expected_log(self, level: str) -> float:
        return math.log(EXPECTED_KLD) - SLOPE * (self.bits[level] - EXPECTED_BITS)


def _guess(z: float) -> float:
    return min(max(math.erfc(-z / math.sqrt(2)) / 2, _UNSURE), 1 - _UNSURE)


def _tail(t: float, freedom: float) -> float:
    return float(tails(np.array([t]), freedom)[0])
