"""Rounds for a comparison, with rates chosen one by one."""

from collections.abc import Sequence
from typing import Any

from profiler.records.round import Round
from tests.support.cells import cell
from tests.support.rounds import a_round, sample

N_GEN = 4
N_PROMPT = 6


def rounds_of(
    decode_tps: Sequence[float | Sequence[float]], prefill_tps: float | None = None, **changes: Any
) -> list[Round]:
    """Return one cell's rounds, each with its decode rate, or with one for each repetition."""
    sha256 = changes.pop("sha256", "a" * 64)
    settings = changes.pop("settings", {})
    return [
        a_round(
            place,
            *(
                sample(
                    prefill_ms=None if prefill_tps is None else 1e3 * N_PROMPT / prefill_tps,
                    decode_ms=(1e3 / rate,) * N_GEN,
                )
                for rate in ((rates,) if isinstance(rates, int | float) else rates)
            ),
            cell=cell(sha256, **settings),
            **changes,
        )
        for place, rates in enumerate(decode_tps)
    ]
