"""What is kept about files that this program quantized: which input led to which content, and the fallback types.

Everything is identified by content: a file that was moved is still known, one that was changed is not.
"""

import hashlib

import msgspec

from quant.base.ints import Int64
from quant.base.kept import KeptJson


class QuantizedFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The content that an input led to at a level, and what its own header does not hold."""

    sha256: str  # of the output
    fallbacks: dict[str, Int64] = {}  # "q4_K -> q5_0" -> number of tensors
    imatrix_sha256: str | None = None


def key_of(*parts: str | None) -> str:
    """Return the key of a piece of work: a hash of everything that its result depends on."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def result_of(key: str) -> QuantizedFacts | None:
    """Return what this work led to before; None where it is not known."""
    return _kept(f"key-{key}").read()


def facts_of(sha256: str) -> QuantizedFacts | None:
    """Return what is known of a content that was quantized here; None for any other."""
    facts = _kept(f"file-{sha256}").read()
    return facts if facts and facts.sha256 == sha256 else None


def remember(key: str | None, facts: QuantizedFacts) -> None:
    """Keep what a piece of work led to."""
    _kept(f"file-{facts.sha256}").try_write(facts)
    if key:
        _kept(f"key-{key}").try_write(facts)


def _kept(name: str) -> KeptJson[QuantizedFacts]:
    return KeptJson(f"quantized/{name}.json", QuantizedFacts)
