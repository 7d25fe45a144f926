"""The answer of a report for stated limits is that of `slmprof recommend`, in a report's words."""

import msgspec
import pytest

from plots.report.answer import answer
from plots.report.content import gather
from profiler.recommend.records import Criteria, Limits, Prefer
from profiler.records.cell_summary import CellSummary, Reach, Reaches
from quant.base.errors import UserError
from tests.support.rounds import results
from tests.support.summaries import MIB, failed, summary


def cell(quant: str, tps: float, mib: int, bpw: float, *, model: str = "tiny", **changes: object) -> CellSummary:
    return summary(
        model=model,
        quant=quant,
        artifact_sha256=f"{model}-{quant}",
        cell_key=f"{model}-{quant}-{changes.get('n_threads', 1)}",
        bpw=bpw,
        decode_tps=tps,
        decode_tps_lo=tps - 1,
        decode_tps_hi=tps + 1,
        model_rss_bytes=mib * MIB,
        model_rss_bytes_max=mib * MIB,
        **changes,
    )


THREE = [
    cell("Q8_0", 20, 300, 8.5, kld=0.001, kld_se=0.0001),
    cell("Q4_K_M", 30, 200, 4.8, kld=0.02, kld_se=0.001),
    cell("Q2_K", 40, 150, 3.0, kld=0.9, kld_se=0.01),
]


def test_a_limit_is_kept_and_what_misses_it_says_by_how_much() -> None:
    found = answer(THREE, Criteria(limits=Limits(max_memory_bytes=250 * MIB)))
    assert found.headline == "tiny at Q4_K_M with 1 thread: 30 tokens/s in 200.0 MiB of memory"
    assert [(each.cell.artifact.level, each.is_best) for each in found.rows] == [
        ("Q4_K_M", True), ("Q2_K", False), ("Q8_0", False)
    ]  # fmt: skip
    assert found.rows[1].costs == "decode 33% faster, 50.0 MiB less memory, KLD 0.9 ± 0.01 against 0.02 ± 0.001"
    assert found.rows[2].costs == "does not meet the limits: needs 50.0 MiB more"
    assert "--max-memory 250MiB" in found.reasons[0]
    assert "the best quality, then the fastest, then the smallest" in found.reasons[0]
    assert "lowest KLD (" in found.reasons[1]


def test_nothing_that_keeps_the_limits_says_what_would_have_to_give() -> None:
    found = answer(THREE, Criteria(limits=Limits(min_decode_tps=60)))
    assert found.headline == "No choice: no cell meets the limits"
    assert any("relax --min-decode from 60 to 39: Q2_K" in reason for reason in found.reasons)
    assert [each.cell.artifact.level for each in found.rows] == ["Q2_K", "Q4_K_M"]
    assert not any(each.is_best for each in found.rows)


def test_of_several_models_the_largest_that_keeps_the_limits_leads() -> None:
    small = cell("Q8_0", 90, 90, 8.5, model="small", n_params=10_000_000)
    large = cell("Q4_K_M", 9, 900, 4.8, model="large", n_params=900_000_000)
    middle = cell("Q4_K_M", 30, 200, 4.8, model="middle", n_params=90_000_000)
    found = answer([small, large, middle], Criteria(limits=Limits(max_memory_bytes=500 * MIB)))
    assert found.headline.startswith("middle at Q4_K_M")
    assert found.headline.endswith("the largest of 2 models that meet the limits")
    assert [each.cell.artifact.model for each in found.rows if each.is_best] == ["middle", "small"]
    only = answer([small, large], Criteria(limits=Limits(max_memory_bytes=500 * MIB)))
    assert only.headline.endswith("the only one of 2 models that meets the limits")


def test_without_limits_the_fastest_of_good_quality_wins() -> None:
    found = answer(THREE)
    assert found.rows[0].cell.artifact.level == "Q4_K_M"  # the KLD of Q2_K is above 0.05
    assert found.reasons[0] == "No limit given, so the fastest decode wins, of cells whose KLD is at most 0.05."
    loaded = gather(results(), draw=False)
    assert loaded.answer.headline.startswith("No choice")


def test_a_choice_of_disturbed_cells_says_so() -> None:
    busy = cell("Q4_K_M", 30, 200, 4.8, kld=0.0001, kld_se=0.0, flags=("busy",))
    busy = msgspec.structs.replace(busy, reaches=Reaches(decode_tps=Reach(29, 40)))
    found = answer([THREE[0], busy, failed(quant="F16")], Criteria(limits=Limits(min_decode_tps=10)))
    assert found.rows[0].cell.artifact.level == "Q4_K_M"
    assert found.rows[0].costs.startswith("disturbed (busy): ")
    reasons = " ".join(found.reasons)
    assert "The choice rests on widened intervals: it was measured while disturbed (busy)" in reasons
    assert "Failed or skipped: 1 cell." in reasons


def test_loads_are_not_mixed_and_the_fuller_one_answers() -> None:
    other = [cell("Q8_0", 10, 300, 8.5, workload="other", n_prompt=7)]
    found = answer([*other, *THREE], Criteria(order=Prefer(speed=1)))
    assert found.rows[0].cell.artifact.level == "Q2_K"
    assert any("1 more device or workload" in reason for reason in found.reasons)


def test_a_limit_on_what_nobody_measured_is_refused() -> None:
    with pytest.raises(UserError, match="--max-kld needs measured quality"):
        answer([cell("Q8_0", 20, 300, 8.5)], Criteria(limits=Limits(max_kld=0.1)))
