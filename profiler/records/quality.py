"""Perplexity and KLD of one file and one text."""

import msgspec

from profiler.records.config import F16_CACHE, KvTypes
from profiler.records.failure import Failure, Status
from quant.base.ints import Count, Int64


class Mean(msgspec.Struct, frozen=True, kw_only=True):
    """A mean over scored tokens, and its standard error."""

    value: float
    se: float


class Perplexity(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model predicts a text."""

    ppl: Mean
    n_scored: Count  # tokens


class Divergence(msgspec.Struct, frozen=True, kw_only=True):
    """How far a model's predictions are from the reference's; nats, shares, and probabilities."""

    kld: Mean
    kld_p90: float
    kld_p99: float
    kld_max: float
    same_top: Mean  # share of places where the most probable token is the same
    dp_rms: Mean  # root mean square of the change of the right token's probability
    log_ppl_ratio: Mean  # logarithm of the quotient of the perplexities


class QualityRecord(msgspec.Struct, frozen=True, kw_only=True, tag="quality", tag_field="type"):
    """What one file makes of one text. Figures, not observations: those are some 100 KiB a level.

    A type of its own, so that a reader that does not know it refuses the file instead of leaving it out.
    """

    artifact_sha256: str
    text_sha256: str
    text_name: str
    n_ctx: Int64
    n_chunks_asked: Int64 | None  # None: the whole text
    # The unquantized file, or the one that was named, with an f16 cache; None where there was none, and no divergence.
    reference_sha256: str | None
    env_id: str
    status: Status
    started_at: str  # UTC, %Y-%m-%dT%H:%M:%SZ
    n_threads: Int64
    n_chunks: Count = 0  # windows that were scored
    n_tokens: Count = 0  # of the text, as this model reads it
    perplexity: Perplexity | None = None
    divergence: Divergence | None = None
    wall_ns: Int64 | None = None  # of its processes
    peak_rss_bytes: Int64 | None = None  # of the largest of them
    adaptive: bool = False  # a pick's: windows are added until they suffice for its decision
    type_k: str = F16_CACHE.type_k  # of the KV cache
    type_v: str = F16_CACHE.type_v
    error: Failure | None = None

    @property
    def cache(self) -> KvTypes:
        """The types of the KV cache."""
        return KvTypes(self.type_k, self.type_v)

    @property
    def key(self) -> tuple[str, KvTypes, str, int, int | None, bool, str | None]:
        """What makes two of them the same measurement; it drives resume."""
        windows = self.n_ctx, self.n_chunks_asked, self.adaptive
        return self.artifact_sha256, self.cache, self.text_sha256, *windows, self.reference_sha256
