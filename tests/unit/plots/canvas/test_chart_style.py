"""One visual language: a level has its colour, a family its marker, made-up weights their filling, in any chart."""

import pytest

from plots.canvas.style import LEVEL_COLOURS, filling_of, find_style, fitted, looks, markers_of
from quant.gguf_io.levels import LEVELS
from tests.benchmarks.charts_look import TOGETHER, too_near
from tests.support.colours import VISIONS, ciede2000, distance, lab_of
from tests.support.summaries import summary


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # Source: Sharma, Wu & Dalal (2005), table 1, pairs 1, 7, 17 and 25.
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
        ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ],
)
def test_the_distance_of_colours_is_the_published_one(
    one: tuple[float, float, float], other: tuple[float, float, float], expected: float
) -> None:
    assert ciede2000(one, other) == pytest.approx(expected, abs=1e-4)


def test_white_is_white_and_red_and_green_are_alike_to_some() -> None:
    assert lab_of("#FFFFFF") == pytest.approx((100, 0, 0), abs=0.02)
    assert distance("#B05030", "#707030", "deuteranopia") < distance("#B05030", "#707030") / 2


@pytest.mark.parametrize("levels", TOGETHER)
def test_levels_that_are_side_by_side_stay_apart_for_any_colour_vision(levels: tuple[str, ...]) -> None:
    assert too_near(levels) == []


def test_colours_that_are_too_near_are_told_with_who_mixes_them_up() -> None:
    (found, *_) = too_near(("Q4_K_M", "Q4_K_S"))
    assert found.startswith("Q4_K_M and Q4_K_S are ")
    assert found.endswith(f"({next(iter(VISIONS))})")


def test_every_level_has_a_colour_and_fewer_bits_are_lighter() -> None:
    assert {level.name for level in LEVELS} <= set(LEVEL_COLOURS)
    lightness = [lab_of(LEVEL_COLOURS[name])[0] for name in TOGETHER[0] if not name.startswith("IQ")]
    assert lightness == sorted(lightness)


def test_a_level_looks_the_same_whatever_stands_beside_it() -> None:
    alone = looks([summary(quant="Q4_K_M", bpw=4.85)])["Q4_K_M"]
    among = looks([summary(quant=level, bpw=4.85) for level in ("F16", "Q4_0", "Q4_K_M", "Q8_0")])["Q4_K_M"]
    assert alone == among


def test_two_files_of_a_level_share_its_colour_and_differ_in_dash_and_rim() -> None:
    plain, other = looks([summary(quant="Q4_0"), summary(quant="Q4_0 imatrix")]).values()
    assert plain.colour == other.colour
    assert (plain.dash != other.dash, plain.rim != other.rim) == (True, True)


def test_a_level_that_is_not_known_takes_the_colour_of_its_bits() -> None:
    found = looks([summary(quant="Q9_X", bpw=6.4), summary(quant="Z", bpw=1.2)])
    assert found["Q9_X"].colour == LEVEL_COLOURS["Q6_K"]
    assert found["Z"].colour == LEVEL_COLOURS["Q2_K"]


def test_a_family_has_its_marker_and_an_unknown_one_the_same_every_time() -> None:
    found = markers_of(["llama", "qwen2", "gemma3", "nothing-known"])
    assert (found["llama"], found["qwen2"], found["gemma3"]) == ("o", "s", "v")
    assert markers_of(["nothing-known", "olmo"])["nothing-known"] == found["nothing-known"]


def test_no_two_families_of_a_chart_have_one_marker() -> None:
    arches = ["falcon-h1", "qwen35", "granitehybrid", "granitemoe", "lfm2", "gemma3n", "gemma4", "mistral3", "exaone4"]
    arches += ["ernie4_5", "hunyuan-dense", "rwkv7", "bitnet", "arcee", "apertus", "llama", "qwen3", "gemma3"]
    assert len(set(markers_of(arches).values())) == len(arches)
    assert len(set(markers_of(map(str, range(99))).values())) == 26


def test_fillings_tell_real_synthetic_and_stand_in_apart() -> None:
    assert filling_of(summary()) == "full"
    assert filling_of(summary(weights="synthetic", standin_for="x")) == "hollow"
    assert filling_of(summary(weights="synthetic", standin_for="x", standin_family="opt")) == "half"


def test_one_column_puts_panels_below_each_other_and_two_widen_a_single_one() -> None:
    one, two = fitted(find_style("paper"), 1), fitted(find_style("paper"), 2)
    assert (one.column, one.page, one.most_columns) == (3.5, 3.5, 1)
    assert (two.column, two.page, two.most_columns) == (7.0, 7.0, 3)
