"""From the values at each scored token to the figures that people compare. Pure Python.

Source of the formulas: kl_divergence and perplexity in tools/perplexity/perplexity.cpp of the pinned llama.cpp.
"""

import math
from collections.abc import Sequence

from profiler.analysis.stats import quantile
from profiler.records.quality import Divergence, Mean, Perplexity

_MAX_EXPONENT = 700.0  # its exponential is still finite


def mean_with_error(values: Sequence[float]) -> Mean:
    """Return the mean and its standard error."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return Mean(value=mean, se=0.0)
    spread = math.fsum((value - mean) ** 2 for value in values) / n
    return Mean(value=mean, se=math.sqrt(spread / (n - 1)))


def perplexity(nll: Sequence[float]) -> Perplexity:
    """Return the exponential of the mean negative log-likelihood."""
    return Perplexity(ppl=exponential(mean_with_error(nll)), n_scored=len(nll))


def exponential(logarithm: Mean) -> Mean:
    """Return the exponential of a mean; its error by the first derivative."""
    value = math.exp(min(logarithm.value, _MAX_EXPONENT))
    return Mean(value=value, se=min(value * logarithm.se, math.exp(_MAX_EXPONENT)))


def divergence(nll: Sequence[float], base_nll: Sequence[float], kld: Sequence[float], n_same_top: int) -> Divergence:
    """Compare with the reference (base), token by token; all values in nats."""
    n = len(nll)
    share = n_same_top / n
    squares = mean_with_error(
        [(math.exp(-one) - math.exp(-base)) ** 2 for one, base in zip(nll, base_nll, strict=True)]
    )
    rms = math.sqrt(squares.value)
    return Divergence(
        kld=mean_with_error(kld),
        kld_p90=quantile(kld, 0.9),
        kld_p99=quantile(kld, 0.99),
        kld_max=max(kld),
        same_top=Mean(value=share, se=math.sqrt(share * (1 - share) / max(1, n - 1))),
        dp_rms=Mean(value=rms, se=squares.se / (2 * rms) if rms else 0.0),
        # Paired token by token, so it is more certain than either perplexity.
        log_ppl_ratio=mean_with_error([one - base for one, base in zip(nll, base_nll, strict=True)]),
    )
