"""The choice within limits: what meets them, what wins, what is a tie, what to relax. Numbers made by hand."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from profiler.recommend.choose import narrowed, recommend
from profiler.recommend.records import Candidate, Choice, Criteria, Limits, Prefer
from profiler.records.cell_summary import CellSummary, Reach, Reaches
from profiler.records.span import Span
from quant.base.errors import UserError
from quant.gguf_io.artifact import Shape
from tests.support.summaries import MIB, changed, failed, request, summary

GIB = 1 << 30
BITS = {"Q2_K": 3.0, "Q4_0": 4.5, "Q4_K_M": 4.9, "Q6_K": 6.6, "Q8_0": 8.5, "F16": 16.0}


def cell(
    quant: str, decode: float, memory_mib: float, *, reach: float = 0.1, make: Any = summary, **changes: Any
) -> CellSummary:
    """A cell whose decode is `decode` ± `reach`, and whose memory is the same in every round."""
    memory = round(memory_mib * MIB)
    fields: dict[str, Any] = {
        "quant": quant,
        "bpw": BITS[quant],
        "decode_tps": decode,
        "decode_tps_lo": decode - reach,
        "decode_tps_hi": decode + reach,
        "model_rss_bytes": memory,
        "model_rss_bytes_min": memory,
        "model_rss_bytes_max": memory,
    }
    found: CellSummary = make(**(fields | changes))
    return found


def cells() -> list[CellSummary]:
    """Three files at one and two threads; more bits cost speed and memory."""
    return [
        cell("Q4_0", 20, 100),
        cell("Q4_0", 36, 101, n_threads=2),
        cell("Q6_K", 14, 140),
        cell("Q6_K", 26, 141, n_threads=2),
        cell("Q8_0", 11, 180),
        cell("Q8_0", 21, 181, n_threads=2),
    ]


def typed_bytes(text: str) -> int:
    return int(text[:-3]) * {"MiB": MIB, "GiB": 1024 * MIB}[text[-3:]]


def choose(found: list[CellSummary], **options: Any) -> Choice:
    limits = {name: options.pop(name) for name in list(options) if name in Limits.__struct_fields__}
    (choice,) = recommend(found, Criteria(limits=Limits(**limits), **options)).choices
    return choice


def chosen(choice: Choice) -> tuple[str, int] | None:
    return (choice.chosen.quant, choice.chosen.n_threads) if choice.chosen else None


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_file_bytes": 1 << 40}, ("Q8_0", 2)),
        ({"max_memory_bytes": 181 * MIB}, ("Q8_0", 2)),
        ({"max_memory_bytes": 181 * MIB - 1}, ("Q8_0", 1)),
        ({"max_memory_bytes": 141 * MIB}, ("Q6_K", 2)),
        ({"min_decode_tps": 20.9}, ("Q8_0", 2)),
        ({"min_decode_tps": 21.0}, ("Q6_K", 2)),  # the interval begins at 20.9
        ({"min_decode_tps": 30.0}, ("Q4_0", 2)),
        ({"max_memory_bytes": 150 * MIB, "min_decode_tps": 30.0}, ("Q4_0", 2)),
        ({"min_prefill_tps": 160.0}, ("Q8_0", 2)),
        ({"max_memory_bytes": 90 * MIB}, None),
        ({"min_prefill_tps": 160.1}, None),
    ],
)
def test_the_best_quality_within_the_limits_wins_and_then_the_fastest(
    limits: dict[str, Any], expected: tuple[str, int] | None
) -> None:
    assert chosen(choose(cells(), **limits)) == expected


def test_the_reason_names_what_decided() -> None:
    choice = choose(cells(), max_memory_bytes=150 * MIB)
    for fact in (
        "most bits per weight (6.60",
        "4 cells that meet --max-memory 150MiB",
        "2 cells of that quality",
        "fastest",
    ):
        assert fact in choice.reason
    assert (choice.n_considered, choice.n_fitting, choice.quality_basis) == (6, 4, "bpw")


def test_overlapping_intervals_go_to_the_next_criterion() -> None:
    slower_but_smaller = [
        cell("Q4_0", 20.0, 100, reach=1.0),
        cell("Q4_0", 21.9, 101, reach=1.0, n_threads=2),
        cell("Q4_0", 19.0, 90, reach=0.4, n_threads=4),
    ]
    choice = choose(slower_but_smaller, max_memory_bytes=GIB)
    # 20 ± 1 reaches 21 and 21.9 ± 1 begins at 20.9: a tie, which memory decides. 19 ± 0.4 ends before 20.9, so it is
    # surely slower than one of them and not chosen for its memory, although it overlaps with the choice.
    assert chosen(choice) == ("Q4_0", 1)
    assert choice.tied == ("Q4_0 with 2 threads", "Q4_0 with 4 threads")
    for fact in (
        "tied in speed with Q4_0 with 2 threads (intervals overlap)",
        "least memory",
        "3 cells that meet --max-memory 1GiB",
    ):
        assert fact in choice.reason


def test_other_qualities_do_not_break_a_tie() -> None:
    # Without the third cell the two of Q8_0 overlap; it must not make the slower one of them the loser.
    found = [
        cell("Q8_0", 20, 120, reach=2),
        cell("Q8_0", 17, 110, reach=2, n_threads=2),
        cell("Q4_0", 23, 100, reach=2),
    ]
    choice = choose(found, max_memory_bytes=GIB)
    assert chosen(choice) == ("Q8_0", 2)
    assert "tied in speed with Q8_0 with 1 thread" in choice.reason
    assert choice.tied == ("Q8_0 with 1 thread",)


def test_a_wide_interval_ties_nobody_with_what_is_surely_slower() -> None:
    # 20 in [10, 30] overlaps with both of the others, but 12 in [11, 13] is surely slower than 19 in [18, 20].
    wide = cell("Q4_0", 20, 120, reach=10)
    sure = cell("Q4_0", 19, 110, reach=1, n_threads=2)
    slow = cell("Q4_0", 12, 100, reach=1, n_threads=4)
    choice = choose([wide, sure, slow])
    assert chosen(choice) == ("Q4_0", 2)
    assert choice.tied == ("Q4_0 with 1 thread",)


def test_a_tie_in_memory_too_goes_to_the_fewest_threads() -> None:
    choice = choose([cell("Q4_0", 21, 100, reach=1, n_threads=2), cell("Q4_0", 20, 100, reach=1)])
    assert chosen(choice) == ("Q4_0", 1)
    assert "of these it uses the fewest threads" in choice.reason


def test_under_six_rounds_smallest_and_largest_stand_for_the_interval() -> None:
    no_interval = {"rounds": 3, "decode_tps_lo": None, "decode_tps_hi": None}
    few = cell("Q4_0", 10, 100, **no_interval, decode_tps_min=7.5, decode_tps_max=12.0)
    assert chosen(choose([few], min_decode_tps=7.5)) == ("Q4_0", 1)
    assert chosen(choose([few], min_decode_tps=8)) is None


def test_memory_counts_by_its_largest_round() -> None:
    uneven = cell("Q4_0", 10, 100, model_rss_bytes_max=110 * MIB)
    choice = choose([uneven], max_memory_bytes=105 * MIB)
    assert choice.relax is not None
    assert (choice.relax.option, choice.relax.value) == ("--max-memory", "110MiB")


def test_a_near_miss_says_what_it_needs() -> None:
    choice = choose(cells(), max_memory_bytes=150 * MIB, min_decode_tps=20.0)
    assert chosen(choice) == ("Q6_K", 2)
    assert [each.text for each in choice.near_misses] == [
        "Q8_0 with 2 threads needs 31.0 MiB more (--max-memory 181MiB)"
    ]
    assert [(each.candidate.quant, each.text) for each in choice.runners_up] == [
        ("Q4_0", "decode 38% faster, 40.0 MiB less memory, 4.50 bits per weight against 6.60")
    ]


def test_when_nothing_fits_the_smallest_step_of_one_limit_is_named() -> None:
    choice = choose(cells(), max_memory_bytes=150 * MIB, min_decode_tps=40.0)
    # Q4_0 at two threads decodes 35.9 at least: a step of 10 %. Nothing decodes 40, so memory alone would not help.
    assert choice.chosen is None
    assert choice.relax is not None
    assert choice.relax.text.startswith(
        "relax --min-decode from 40 to 35.9: Q4_0 with 2 threads decodes as slowly as 35.9 t/s"
    )
    assert choice.command is None


def test_when_no_single_limit_is_enough_the_nearest_is_named() -> None:
    choice = choose(cells(), max_memory_bytes=50 * MIB, min_decode_tps=40.0)
    assert choice.relax is None
    assert "relaxing one is not enough" in choice.reason
    assert choice.reason.endswith(
        "Q4_0 with 2 threads needs 51.0 MiB more (--max-memory 101MiB) and decodes as slowly as 35.9 t/s "
        "(--min-decode 35.9)"
    )


@pytest.mark.parametrize("decode", [0.123456, 7.3219, 35.85001, 99.96, 123.456, 1234.5, 9999.0])
@pytest.mark.parametrize("memory_mib", [0.7, 99.999, 100, 1023.5])
def test_a_relaxed_limit_is_met(decode: float, memory_mib: float) -> None:
    found = [cell("Q4_0", decode, memory_mib, reach=0)]
    slow = choose(found, min_decode_tps=decode * 1.5)
    assert slow.relax is not None
    assert chosen(choose(found, min_decode_tps=float(slow.relax.value))) == ("Q4_0", 1)
    large = choose(found, max_memory_bytes=int(memory_mib * MIB / 2))
    assert large.relax is not None
    size = typed_bytes(large.relax.value)
    assert size - memory_mib * MIB <= MIB
    assert chosen(choose(found, max_memory_bytes=size)) == ("Q4_0", 1)


def disturbed(found: CellSummary, lo: float, hi: float | None, *flags: str, hidden_bytes: int = 0) -> CellSummary:
    """The cell with flags, and the range in which its decode may lie without what raised them."""
    reaches = Reaches(decode_tps=Reach(lo, hi), hidden_bytes=hidden_bytes)
    return msgspec.structs.replace(found, flags=flags or ("busy",), reaches=reaches)


def test_a_disturbed_cell_that_leads_is_chosen() -> None:
    # What a background load made of it: 130 tokens/s with two threads, flagged, against 114 with one.
    found = [cell("Q8_0", 114, 180, reach=2), disturbed(cell("Q8_0", 130, 181, reach=3, n_threads=2), 127, 190)]
    choice = choose(found)
    assert chosen(choice) == ("Q8_0", 2)
    assert (
        choice.reason
        == "it is the fastest, among the 2 cells of at least 4.5 bits per weight (quality was not measured)"
    )
    (line,) = choice.disturbed
    for fact in ("rests on widened intervals", "(busy)", "127.0 to 190.0 t/s"):
        assert fact in line
    assert choose(found, flagged=True).disturbed == ()


def test_where_widened_intervals_are_a_tie_the_measured_speed_decides() -> None:
    found = [
        disturbed(cell("Q8_0", 114, 100, reach=2), 112, 163),
        disturbed(cell("Q8_0", 130, 181, n_threads=2), 129.9, 190),
    ]
    choice = choose(found)
    assert chosen(choice) == ("Q8_0", 2)  # as measured; by the tie alone the one with less memory
    assert (
        "(intervals, widened for what disturbed cells, overlap): of these it is the fastest as measured"
        in choice.reason
    )
    assert choice.tied == ("Q8_0 with 1 thread",)
    assert len(choice.disturbed) == 2
    assert "Q8_0 with 1 thread (busy); re-measure on an idle machine" in choice.disturbed[1]


def test_a_speed_without_bound_beats_nothing_that_was_measured() -> None:
    found = [cell("Q8_0", 20, 180), disturbed(cell("Q4_0", 12, 100), 11.9, None, "paging")]
    choice = choose(found)
    assert chosen(choice) == ("Q8_0", 1)
    assert "perhaps faster undisturbed: Q4_0 with 1 thread (paging)" in choice.disturbed[0]


def test_a_limit_that_a_disturbed_cell_meets_anyway_is_met() -> None:
    found = [disturbed(cell("Q8_0", 20, 180), 19.9, 26), disturbed(cell("Q6_K", 30, 140), 29.9, 38)]
    assert chosen(choose(found, min_decode_tps=19)) == ("Q8_0", 1)
    assert chosen(choose(found, min_decode_tps=25)) == ("Q6_K", 1)
    undecided = choose(found, min_decode_tps=35)
    assert undecided.chosen is None
    assert undecided.reason == (
        "no cell surely meets all limits, and undisturbed Q6_K with 1 thread (busy) may: re-measure on an idle machine"
    )
    assert choose(found, min_decode_tps=39).relax is not None


def test_memory_that_paging_may_have_hidden_counts() -> None:
    found = [disturbed(cell("Q4_0", 20, 100), 19.9, None, "paging", hidden_bytes=10 * MIB)]
    assert chosen(choose(found, max_memory_bytes=110 * MIB)) == ("Q4_0", 1)
    assert chosen(choose(found, max_memory_bytes=109 * MIB)) is None
    assert chosen(choose(found, max_memory_bytes=109 * MIB, flagged=True)) == ("Q4_0", 1)


def test_without_limits_the_fastest_of_good_quality_wins() -> None:
    found = [*cells(), cell("Q2_K", 60, 80)]
    choice = choose(found)
    assert chosen(choice) == ("Q4_0", 2)
    assert choice.near_misses[0].text == (
        "Q2_K with 1 thread has 3.00 bits per weight, fewer than 4.5, and no measured quality"
    )
    by_kld = scored({"Q4_0": (0.051, 0.001), "Q6_K": (0.030, 0.001), "Q8_0": (0.002, 0.001)})
    choice = choose(by_kld)
    assert (chosen(choice), choice.n_fitting) == (("Q6_K", 2), 4)
    assert choice.reason == "it is the fastest, among the 4 cells whose KLD is at most 0.05"
    assert chosen(choose(by_kld, max_kld=0.01)) == ("Q8_0", 2)
    # A level whose KLD is known is not judged by its bits.
    partly = scored({"Q4_0": (0.2, 0.001)})
    assert chosen(choose(partly)) == ("Q6_K", 2)


def test_where_no_cell_is_good_enough_quality_decides() -> None:
    choice = choose([cell("Q2_K", 60, 80, bpw=3.1), cell("Q2_K", 90, 70, bpw=2.5, artifact_sha256="c" * 64)])
    assert choice.chosen is not None
    assert choice.chosen.bpw == pytest.approx(3.1)
    assert "none of which has a KLD of at most 0.05 or 4.5 bits per weight" in choice.reason


def test_a_failed_cell_is_left_out_with_its_reason() -> None:
    choice = choose([cell("Q4_0", 20, 100), failed(quant="Q8_0", error="killed by <SIGKILL>")], flagged=True)
    assert chosen(choice) == ("Q4_0", 1)
    assert [each.why for each in choice.left_out] == ["failed: killed by \\<SIGKILL\\>"]


def scored(values: dict[str, tuple[float, float]]) -> list[CellSummary]:
    """The cells, with the divergence and its error of some levels."""
    figures = {level: {"kld": value, "kld_se": error} for level, (value, error) in values.items()}
    return [changed(each, **figures.get(each.artifact.level, {})) for each in cells()]


def test_measured_quality_counts_before_bits() -> None:
    found = scored({"Q4_0": (0.020, 0.001), "Q6_K": (0.030, 0.001), "Q8_0": (0.040, 0.001)})
    choice = choose(found, max_memory_bytes=GIB)
    assert (chosen(choice), choice.quality_basis) == (("Q4_0", 2), "kld")
    assert "lowest KLD (0.02 ± 0.001)" in choice.reason


def test_qualities_within_their_errors_are_a_tie() -> None:
    found = scored({"Q4_0": (0.011, 0.001), "Q6_K": (0.012, 0.001), "Q8_0": (0.010, 0.001)})
    assert chosen(choose(found, max_memory_bytes=GIB)) == ("Q4_0", 2)  # the fastest of the tie


def test_a_kv_cache_that_was_not_scored_has_no_quality_and_is_noted() -> None:
    known = changed(cell("Q4_0", 20, 100), kld=0.01, kld_se=0.001)
    found = recommend(
        [known, cell("Q4_0", 30, 90, type_k="q8_0", type_v="q8_0")], Criteria(limits=Limits(max_kld=0.02))
    )
    assert found.choices[0].chosen is not None
    assert found.choices[0].chosen.cell_key == known.cell_key
    assert any(note.startswith("KV cache q8_0/q8_0: no KLD was measured") for note in found.notes)


def test_a_limit_on_divergence() -> None:
    found = scored({"Q4_0": (0.05, 0.0), "Q6_K": (0.01, 0.0)})
    choice = choose(found, max_kld=0.02)
    assert chosen(choice) == ("Q6_K", 2)
    assert [each.text for each in choice.near_misses] == [
        "Q4_0 with 2 threads has a KLD of up to 0.05 (--max-kld 0.05)",
        "Q8_0 with 2 threads has no measured quality",
    ]


def test_a_limit_on_what_nobody_measured_says_what_to_run() -> None:
    with pytest.raises(UserError, match=r"slmprof quality tiny -q Q4_0,Q6_K,Q8_0 -o results\.jsonl$"):
        recommend(cells(), Criteria(limits=Limits(max_kld=0.1)))
    with pytest.raises(UserError, match="synthetic weights have none"):
        recommend([cell("Q4_0", 20, 100, weights="synthetic")], Criteria(limits=Limits(max_kld=0.1)))
    with pytest.raises(UserError, match="slmprof profile SOURCE --workload chat"):
        recommend(cells(), Criteria(limits=Limits(max_ttft_ms=1000)))


def test_a_limit_on_the_first_token_leaves_out_what_is_no_request() -> None:
    found = [*cells(), cell("Q4_0", 18, 110, make=request), cell("Q8_0", 9, 190, make=request, ttft_ms_hi=1100.0)]
    result = recommend(found, Criteria(limits=Limits(max_ttft_ms=1000)))
    assert [(each.workload, chosen(each)) for each in result.choices] == [("chat", ("Q4_0", 1))]
    assert result.notes == ("skipped, without a time to first token: bench",)
    assert result.choices[0].near_misses[0].text == (
        "Q8_0 with 1 thread takes up to 1100 ms to the first token (--max-ttft 1.1s)"
    )


@pytest.mark.parametrize("bpw", [-1e30, -1e5, 0.0, 1e30])
def test_bits_that_no_file_has_are_weighed_too(bpw: float) -> None:
    found = [cell("Q4_0", 40, 100, bpw=bpw), cell("Q6_K", 20, 100, bpw=5.5)]
    assert chosen(choose(found, order=Prefer(speed=1, quality=1))) is not None


def test_weights_multiply_shares() -> None:
    # speed 40 : 20, memory 100 : 100, bits 4.5 : 5.5. Quality's shares are 2^-1 and 2^-0.5.
    found = [cell("Q4_0", 40, 100, bpw=4.5), cell("Q6_K", 20, 100, bpw=5.5)]
    # speed=1: 1 · 0.5 against 0.5 · 0.707: the first. quality=3: 0.125 against 0.5 · 0.354 = 0.177: the second.
    assert chosen(choose(found, order=Prefer(speed=1, quality=1))) == ("Q4_0", 1)
    assert chosen(choose(found, order=Prefer(speed=1, quality=3))) == ("Q6_K", 1)
    assert chosen(choose(found, order=Prefer(memory=1))) == ("Q6_K", 1)  # equal: then by bits
    assert "speed=1, quality=3" in choose(found, order=Prefer(speed=1, quality=3)).reason


def test_a_tie_in_speed_goes_to_the_better_quality() -> None:
    found = [cell("Q8_0", 39, 180, reach=5), cell("Q4_0", 40, 100, reach=5), cell("Q4_0", 20, 90, n_threads=2)]
    choice = choose(found)
    assert chosen(choice) == ("Q8_0", 1)
    assert (
        "tied in speed with Q4_0 with 1 thread (intervals overlap): of these it has the best quality" in choice.reason
    )
    assert choice.runners_up[0].text.startswith("a tie in decode, 80.0 MiB less memory")


def test_environments_models_loads_and_weights_never_compete() -> None:
    found = [
        cell("Q4_0", 20, 100),
        cell("Q4_0", 20, 100, env_id="other"),
        cell("Q8_0", 20, 100, model="second"),
        cell("Q8_0", 20, 100, weights="synthetic"),
        cell("Q8_0", 20, 100, n_depth=1024),
        cell("Q8_0", 20, 100, device="gpu"),
        cell("Q8_0", 20, 100, make=request),
    ]
    result = recommend(found)
    assert [each.n_considered for each in result.choices] == [1] * 7
    words = ("2 environments", "2 models", "2 workloads", "real and synthetic weights")
    assert all(note.startswith(word) for note, word in zip(result.notes, words, strict=True))


def test_memory_at_another_context_is_scaled_by_the_cache() -> None:
    # 768 cells take 24 MiB, so 4096 take 128: 104 more.
    found = [cell("Q4_0", 20, 100, kv_cache_bytes=24 * MIB)]
    choice = choose(found, n_ctx=4000)  # padded to 4096
    assert choice.chosen is not None
    assert choice.chosen.memory_bytes is not None
    assert (choice.chosen.memory_bytes.value, choice.chosen.memory_estimated) == (204 * MIB, True)
    assert chosen(choose(found, n_ctx=4000, max_memory_bytes=204 * MIB)) == ("Q4_0", 1)
    assert chosen(choose(found, n_ctx=4000, max_memory_bytes=204 * MIB - 1)) is None
    same = choose(found, n_ctx=700)
    assert same.chosen is not None
    assert not same.chosen.memory_estimated


def test_a_cell_measured_at_the_context_goes_before_an_estimate() -> None:
    found = [cell("Q4_0", 20, 100), cell("Q4_0", 20, 150, n_ctx=4096)]
    choice = choose(found, n_ctx=4096)
    assert choice.n_considered == 1
    assert choice.chosen is not None
    assert choice.chosen.memory_bytes is not None
    assert (choice.chosen.memory_bytes.value, choice.chosen.memory_estimated) == (150 * MIB, False)
    # Without a requested context the two do not compete.
    assert len(recommend(found).choices) == 2


def test_without_a_known_cache_the_memory_at_another_context_is_unknown() -> None:
    choice = choose([cell("Q4_0", 20, 100, kv_cache_bytes=None)], n_ctx=4096, max_memory_bytes=1 << 40)
    assert choice.chosen is None
    assert "relaxing them does not help" in choice.reason
    assert choice.reason.endswith("Q4_0 with 1 thread has no memory figure at this context")


def test_other_settings_are_named() -> None:
    choice = choose([cell("Q4_0", 20, 100), cell("Q4_0", 30, 90, type_k="q8_0", repack=False)])
    assert choice.chosen is not None
    assert choice.chosen.setting == "K q8_0, repack off"


def test_narrowing_to_a_model_or_a_load() -> None:
    found = [cell("Q4_0", 20, 100), cell("Q4_0", 20, 100, model="Second"), cell("Q4_0", 20, 100, make=request)]
    assert [each.artifact.model for each in narrowed(found, model="second")] == ["Second"]
    assert [each.config.workload for each in narrowed(found, workload="chat")] == ["chat"]
    with pytest.raises(UserError, match="the results hold tiny, Second"):
        narrowed(found, model="third")


@pytest.mark.parametrize("name", ["bob-dpo", "Bob-DPO.gguf", "bob-dpo-q4_0.gguf", "bob-dpo-Q4_0", "Merged"])
def test_a_model_is_named_by_its_file_or_by_the_name_in_it(name: str) -> None:
    bob = {"model": "bob-dpo", "file_name": "bob-dpo-Q4_0.gguf", "general_name": "merged"}
    found = [cell("Q4_0", 20, 100, model="alice"), cell("Q4_0", 20, 100, **bob)]
    if name == "Bob-DPO.gguf":  # no such file: the level is a part of its name
        with pytest.raises(UserError, match="the results hold alice, bob-dpo"):
            narrowed(found, model=name)
    else:
        assert [each.artifact.model for each in narrowed(found, model=name)] == ["bob-dpo"]


def test_a_model_s_own_name_comes_before_that_of_another_s_header() -> None:
    found = [cell("Q4_0", 20, 100, model="a"), cell("Q4_0", 20, 100, model="b", general_name="a")]
    assert [each.artifact.model for each in narrowed(found, model="A")] == ["a"]


CELLS = some.lists(
    some.tuples(
        some.sampled_from(sorted(BITS)),
        some.integers(1, 60),
        some.integers(50, 300),
        some.sampled_from([0, 0.25, 2]),
        some.sampled_from([None, None, 1.3]),
    ),
    min_size=1,
    max_size=12,
)
MAYBE = some.one_of(some.none(), some.integers(1, 400))


def surely_better(one: Span | None, other: Span | None) -> bool:
    assert one is not None
    assert other is not None
    return one.lo > other.hi


@settings(max_examples=40, deadline=None)
@given(rows=CELLS, memory=MAYBE, decode=MAYBE)
def test_whatever_is_measured_the_choice_meets_the_limits(
    rows: list[tuple[str, int, int, float, float | None]], memory: int | None, decode: int | None
) -> None:
    found = [
        disturbed(each, speed - reach, (speed + reach) * factor) if factor else each
        for place, (quant, speed, size, reach, factor) in enumerate(rows)
        for each in [cell(quant, speed, size, reach=reach, n_threads=place + 1)]
    ]
    limits: dict[str, Any] = {"max_memory_bytes": memory and memory * MIB, "min_decode_tps": decode and float(decode)}
    limits["max_file_bytes"] = GIB
    choice = choose(found, **limits)
    able = [
        (bits, speed)
        for quant, speed, size, reach, _ in rows
        if (not memory or size <= memory) and (not decode or speed - reach >= decode)
        for bits in [BITS[quant]]
    ]
    assert choice.n_fitting == len(able)
    if choice.chosen is None:
        assert able == []
        if choice.relax is not None:
            field = {"--max-memory": "max_memory_bytes", "--min-decode": "min_decode_tps"}[choice.relax.option]
            value = choice.relax.value
            again = choose(found, **(limits | {field: typed_bytes(value) if "B" in value else float(value)}))
            assert again.chosen is not None
        return
    assert choice.chosen.bpw == max(bits for bits, _ in able)
    rivals: list[Candidate] = [each.candidate for each in choice.runners_up]
    assert all(each.bpw <= choice.chosen.bpw for each in rivals)
    same = [choose([each]).chosen for each in found if each.artifact.bpw == choice.chosen.bpw]
    fits = [
        each
        for each in same
        if each is not None
        and each.memory_bytes is not None
        and each.decode_tps is not None
        and (not memory or each.memory_bytes.hi <= memory * MIB)
        and (not decode or each.decode_tps.lo >= decode)
    ]
    assert not any(surely_better(each.decode_tps, choice.chosen.decode_tps) for each in fits)


@pytest.mark.parametrize(("n_ctx", "n_notes"), [(None, 0), (2048, 0), (2049, 1), (100_000, 1)])
def test_a_context_beyond_the_trained_one_is_noted(n_ctx: int | None, n_notes: int) -> None:
    shape = Shape(n_ctx_train=2048, n_layer=2, n_embd=64, n_vocab=100)
    found = [
        msgspec.structs.replace(each, artifact=msgspec.structs.replace(each.artifact, shape=shape)) for each in cells()
    ]
    notes = recommend(found, Criteria(limits=Limits(n_ctx=n_ctx))).notes
    assert [note for note in notes if "trained on 2048 tokens" in note] == list(notes)
    assert len(notes) == n_notes
