"""Points of a survey made by hand: models of the registry with planted figures."""

from typing import Any

from plots.survey.plan import survey_models
from plots.survey.records import Point, Shares, Survey, Sweeps
from profiler.records.span import Span
from tests.support.summaries import ENVIRONMENT


def near(value: float, share: float = 0.01, kind: str = "interval") -> Span:
    """A figure with a range of a share to either side."""
    return Span(value, value * (1 - share), value * (1 + share), kind)


def point(model: str, n_params: float, decode_ms: Span | None, **changes: Any) -> Point:
    """A measured point; its first token takes ten times its decode step, its memory a MiB per million parameters."""
    fields: dict[str, Any] = {
        "arch": "llama",
        "level": "Q4_K_M",
        "kind": "measured",
        "prefill_ms": decode_ms and near(decode_ms.value / 5),
        "ttft_ms": decode_ms and near(decode_ms.value * 10),
        "memory_mib": near(50 + n_params),
        "parts_mib": {"weights": n_params, "KV cache": 50.0},
        "n_rounds": 6,
    }
    return Point(model=model, n_params=round(n_params * 1e6), decode_ms=decode_ms, **(fields | changes))


def survey(points: tuple[Point, ...], **changes: Any) -> Survey:
    """A survey of these points."""
    fields: dict[str, Any] = {
        "levels": (),
        "predictions": (),
        "shares": (),
        "contexts": (),
        "sweeps": Sweeps(n_cells=len(points), n_throttled=0, n_drifting=0, hottest_c=51.0, mhz=(1500.0, 2400.0)),
        "models": survey_models({each.model: each.model for each in points}),
        "n_threads": 4,
        "environment": ENVIRONMENT,
        "command": "slmprof study survey -o survey",
        "notes": ("Not done.",),
    }
    return Survey(points=points, **(fields | changes))


def shares(model: str, phase: str, **parts: float) -> Shares:
    """Shares of one phase, each within a tenth."""
    spans = {name.replace("_", " "): near(share, 0.1) for name, share in parts.items()}
    return Shares(model=model, env_id=ENVIRONMENT.id, n_threads=4, phase=phase, n_runs=6, shares=spans)
