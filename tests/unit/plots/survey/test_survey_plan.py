"""What is measured first, what is left to do, and the published values that it is compared with."""

from plots.survey.plan import LEVEL, PAIR, ROUNDS, Piece, left_of, stages, survey_models
from plots.survey.published import published_levels, published_memory, published_models, published_shares
from quant.sources.registry import load_registry


def test_every_file_of_every_figure_is_in_some_stage_and_the_pair_is_first() -> None:
    models = survey_models()
    found = stages(models)
    assert {piece for stage in found for piece in stage.pieces} == set(models.pieces)
    assert [piece.model for piece in found[0].pieces][:2] == list(PAIR)
    assert (found[0].observed, found[0].sustained) == (PAIR, PAIR[0])
    assert len(models.sources) == 20
    assert all(len({piece.model for piece in stage.pieces}) <= 6 for stage in found)


def test_models_of_one_s_own_have_a_pair_and_levels_too() -> None:
    models = survey_models({"a": "a/config.json", "b": "b/config.json"})
    first, levels = stages(models)
    assert (first.observed, [piece.source for piece in first.pieces]) == (
        ("a", "b"),
        ["a/config.json", "b/config.json"],
    )
    assert {piece.level for piece in levels.pieces} == set(published_levels())
    assert {piece.model for piece in levels.pieces} == {"b"}


def test_what_is_measured_observed_or_too_large_is_not_made_again() -> None:
    (stage, *_) = stages(survey_models({name: name for name in (*PAIR, "bloom-560m")}))
    done = dict.fromkeys(((name, LEVEL) for name in PAIR), ROUNDS)
    large = Piece(source="bloom-560m", model="bloom-560m", level=LEVEL)

    def left(
        done: dict[tuple[str, str], int], observed: tuple[str, ...], large: list[Piece], *, sustains: bool = False
    ):
        return left_of(stage, done, observed, large, sustains=sustains)

    assert left(done, PAIR, [large]).pieces == ()
    assert left(done, PAIR, []).pieces == (large,)
    assert [piece.model for piece in left(done, PAIR[:1], [large]).pieces] == [PAIR[1]]
    assert left({**done, (PAIR[0], LEVEL): ROUNDS - 1}, PAIR, [large]).pieces == (stage.pieces[0],)
    again = left(done, PAIR, [large], sustains=True)
    assert (again.pieces, again.sustained) == ((stage.pieces[0],), PAIR[0])


def test_every_published_model_is_one_of_the_registry() -> None:
    names = set(load_registry())
    assert len(published_models()) == 20
    assert set(published_models()) <= names
    assert set(published_models()) <= set(published_memory()) <= names
    assert set(published_levels()) == {"F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"}
    assert published_shares()[PAIR[0], "decode"]["LM head"] == 0.312
