"""Two results against each other: the permutation test, the matching, and what is said of it."""

import itertools
import math
from typing import Any

import msgspec
import pytest

from profiler.compare import permutation
from profiler.compare.comparison import Change, Comparison, adjust, compare_results
from profiler.compare.permutation import compare_rounds, doubled_ranks, least_p, permutation_p
from profiler.compare.text import render_comparison
from profiler.records.round import Round
from profiler.results.file import Results
from tests.support.cells import artifact
from tests.support.compared import rounds_of
from tests.support.rounds import no_round, results
from tests.support.summaries import ENVIRONMENT, environment

TEN = [100.0 + place for place in range(10)]


def p_by_trying_all(base: list[float], new: list[float]) -> float:
    """Permute in the plainest way: every choice of rounds, ranks counted by comparing."""
    everything = [*base, *new]
    ranks = [sum(other < value for other in everything) + sum(other == value for other in everything) / 2
             for value in everything]  # fmt: skip
    middle = len(base) * sum(ranks) / len(ranks)
    seen = abs(sum(ranks[: len(base)]) - middle)
    choices = list(itertools.combinations(ranks, len(base)))
    return sum(abs(sum(choice) - middle) >= seen - 1e-9 for choice in choices) / len(choices)


@pytest.mark.parametrize(
    ("base", "new"),
    [
        ([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]),
        ([1, 4, 5, 8, 9, 12], [2, 3, 6, 7, 10, 11]),
        ([1, 1, 2, 2, 3, 9], [2, 2, 3, 4, 4, 5, 9]),
        ([1, 5, 6, 7, 8, 9], [2, 3, 4, 4.5]),
    ],
)
def test_counting_gives_what_trying_every_permutation_gives(base: list[float], new: list[float]) -> None:
    assert permutation_p(base, new) == pytest.approx(p_by_trying_all(base, new), abs=1e-12)


def test_six_rounds_all_beyond_six_others_are_two_permutations_of_924() -> None:
    assert permutation_p([1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]) == pytest.approx(2 / 924)
    assert least_p(6, 6) == pytest.approx(2 / 924)


def test_many_rounds_are_drawn_with_a_seed_and_never_give_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permutation, "_DRAWS", 200)
    low, high = [float(place) for place in range(40)], [float(place) for place in range(100, 140)]
    assert permutation_p(low, high) == permutation_p(low, high) == pytest.approx(1 / 201)


def test_tied_values_share_their_rank() -> None:
    assert doubled_ranks([5, 1, 5, 3]) == [7, 2, 7, 4]


def test_the_interval_holds_the_factors_that_the_test_does_not_reject() -> None:
    base = [1.00, 1.02, 0.97, 1.05, 0.99, 1.01, 1.03]
    new = [0.95, 0.91, 0.99, 0.94, 0.96, 0.93]
    verdict = compare_rounds(base, new)
    assert verdict.lo is not None
    assert verdict.hi is not None
    for factor, inside in ((verdict.lo * 1.0001, True), (verdict.hi * 0.9999, True),
                           (verdict.lo * 0.9999, False), (verdict.hi * 1.0001, False)):  # fmt: skip
        assert (p_by_trying_all(base, [value / factor for value in new]) > 0.05) is inside


def test_the_ratio_is_the_middle_of_all_pairwise_ratios_and_bears_a_wild_round() -> None:
    assert compare_rounds(TEN, [value * 0.9 for value in TEN]).ratio == pytest.approx(0.9)
    wild = [value * 0.9 for value in TEN[:-1]] + [1e-3]
    assert 0.87 < compare_rounds(TEN, wild).ratio < 0.9


def test_five_rounds_have_a_ratio_and_no_interval() -> None:
    verdict = compare_rounds([1, 2, 3, 4, 5], [10, 20, 30, 40, 50, 60])
    assert (verdict.lo, verdict.hi, verdict.p) == (None, None, None)


def test_p_values_are_adjusted_as_by_hand() -> None:
    # Sorted: 0.01 * 4/1, 0.02 * 4/2, 0.03 * 4/3, 0.5 * 4/4; the least of each and all above it.
    assert adjust([0.02, 0.5, 0.01, 0.03]) == pytest.approx([0.04, 0.5, 0.04, 0.04])
    assert adjust([]) == []


def the_change(comparison: Comparison, figure: str = "decode_tps") -> Change:
    (found,) = [change for pair in comparison.pairs for change in pair.changes if change.figure == figure]
    return found


def both(base: list[Round], new: list[Round], **more: Any) -> Comparison:
    return compare_results(results(*base), results(*new), **more)


def test_a_slow_down_is_told_in_words_with_its_interval() -> None:
    comparison = both(rounds_of(TEN), rounds_of([value * 0.8 for value in TEN]))
    change = the_change(comparison)
    assert change.significant
    assert change.loss_percent == pytest.approx(20, abs=0.01)
    assert "| 20.0 % slower [" in render_comparison(comparison)
    assert comparison.slow_downs(19.0)
    assert not comparison.slow_downs(21.0)


def test_a_gain_is_no_slow_down_and_the_same_is_no_difference() -> None:
    gain = both(rounds_of(TEN), rounds_of([value * 1.2 for value in TEN]))
    assert "20.0 % faster" in render_comparison(gain)
    assert not gain.slow_downs(0)
    same = both(rounds_of(TEN), rounds_of(TEN))
    assert "no difference shown" in render_comparison(same)
    assert not the_change(same).significant


def test_a_later_first_token_is_a_slow_down() -> None:
    chat = {"mode": "request"}

    def with_choice(records: list[Round]) -> list[Round]:
        return [
            msgspec.structs.replace(
                record, samples=tuple(msgspec.structs.replace(each, sample_ns=0) for each in record.samples)
            )
            for record in records
        ]

    comparison = both(with_choice(rounds_of(TEN, 100, settings=chat)), with_choice(rounds_of(TEN, 50, settings=chat)))
    assert the_change(comparison, "ttft_ms").loss_percent == pytest.approx(100)
    assert "100.0 % later" in render_comparison(comparison)


def test_under_six_rounds_ranges_are_shown_and_nothing_is_decided() -> None:
    comparison = both(rounds_of([10, 11]), rounds_of([5, 5.5]))
    text = render_comparison(comparison)
    assert "undecided: ratio within 0.455 to 0.550" in text  # 5 / 11 and 5.5 / 10
    assert "fewer than 6 rounds" in text
    assert not comparison.slow_downs(0)


@pytest.mark.parametrize("is_old_first", [True, False])
def test_a_model_that_older_results_call_by_the_name_in_its_header_is_matched(is_old_first: bool) -> None:
    old = results(*rounds_of(TEN), artifacts=[artifact(model="Smollm2 135M 8k")])
    named = artifact("b" * 64, model="SmolLM2-135M", general_name="Smollm2 135M 8k")
    new = results(*rounds_of(TEN, sha256="b" * 64), artifacts=[named])
    comparison = compare_results(*((old, new) if is_old_first else (new, old)))
    assert len(comparison.pairs) == 1
    # Where both call it by its file, the name in the header matches nothing.
    other = results(*rounds_of(TEN), artifacts=[artifact(model="other", general_name="Smollm2 135M 8k")])
    assert compare_results(other, new).pairs == ()


def test_another_file_of_the_same_level_is_matched_and_said_so() -> None:
    comparison = both(rounds_of(TEN), rounds_of(TEN, sha256="b" * 64))
    assert [pair.same_file for pair in comparison.pairs] == [False]
    assert "differ in the file's hash" in render_comparison(comparison)


def test_another_imatrix_is_another_cell() -> None:
    ours = results(*rounds_of(TEN))
    theirs = results(*rounds_of(TEN, sha256="b" * 64), artifacts=[artifact("b" * 64, imatrix_sha256="c" * 64)])
    comparison = compare_results(ours, theirs)
    assert (len(comparison.pairs), len(comparison.only_base), len(comparison.only_new)) == (0, 1, 1)


def test_what_differs_around_the_figures_comes_first() -> None:
    other = environment(governor="powersave", cpu_features=("NEON", "SVE"))
    new = results(*rounds_of(TEN, env_id=other.id), environments=[other])
    lines = render_comparison(compare_results(results(*rounds_of(TEN)), new)).splitlines()
    assert lines[0].startswith(f"DIFFERENT ENVIRONMENTS ({ENVIRONMENT.id} → {other.id})")
    assert lines[1:3] == ["- cpu_features: none more → SVE", "- governor: unknown → powersave"]


def by_threads(*counts: int) -> Results:
    rounds = []
    for count in counts:
        settings = {"n_threads": count, "n_threads_batch": count}
        rounds += rounds_of([value * count for value in TEN], settings=settings)
    return results(*rounds)


def test_an_axis_that_is_left_out_is_matched_across_once_for_a_file_against_itself() -> None:
    found = by_threads(1, 2, 4)
    comparison = compare_results(found, found, by="threads")
    assert [(pair.base.n_threads, pair.new.n_threads) for pair in comparison.pairs] == [(1, 2), (1, 4), (2, 4)]
    assert math.isclose(comparison.pairs[0].changes[0].ratio, 2)
    assert "1 thread → 2 threads" in render_comparison(comparison)


def test_cells_without_a_partner_are_listed() -> None:
    comparison = compare_results(by_threads(1, 2), by_threads(2, 4))
    assert [cell.n_threads for cell in comparison.only_base] == [1]
    assert [cell.n_threads for cell in comparison.only_new] == [4]
    assert "only in the base results: 1 cell" in render_comparison(comparison)


def test_two_devices_in_one_file_are_not_guessed_apart() -> None:
    one, two, three = environment(board="One"), environment(board="Two"), environment(board="Three")
    base = results(*rounds_of(TEN, env_id=one.id), *rounds_of(TEN, env_id=two.id), environments=[one, two])
    comparison = compare_results(base, results(*rounds_of(TEN, env_id=three.id), environments=[three]))
    assert not comparison.pairs
    assert "there 3 times" in render_comparison(comparison)
    assert [pair.base.env_id for pair in compare_results(base, base).pairs] == [one.id, two.id]


def test_a_cell_that_fails_only_now_is_news() -> None:
    comparison = both(rounds_of(TEN), [*rounds_of(TEN[:6]), no_round(6, message="out of memory")])
    assert "failed only in the new results: out of memory" in render_comparison(comparison)


def test_a_change_of_one_cell_among_many_of_six_rounds_is_said_to_be_out_of_reach() -> None:
    # 2 / 924 * 24 is more than 0.05: one among 24 tests cannot pass.
    many = by_threads(*range(1, 25))
    few = msgspec.structs.replace(many, rounds=[record for record in many.rounds if record.round < 6])
    comparison = compare_results(few, few)
    assert comparison.least_p_adjusted == pytest.approx(24 * 2 / 924)
    assert "so few rounds cannot show a change of one figure alone" in render_comparison(comparison)


def test_names_from_strangers_do_no_harm() -> None:
    ours = results(*rounds_of(TEN), artifacts=[artifact(model="a|b\x1b[31m")])
    text = render_comparison(compare_results(ours, ours))
    assert "\x1b" not in text
    assert "a\\|b" in text
