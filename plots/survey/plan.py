"""What is measured, and in which order: those first that a question compares, then what widens the range of sizes."""

from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from plots.survey.published import LEVELS_MODEL, published_levels, published_models, registered

LEVEL = "Q4_K_M"  # the survey's 4-bit files
ROUNDS = 6  # the fewest with an interval
PAIR = ("qwen1.5-0.5b", "qwen2-0.5b")
# The order: models of about the pair's size, small ones, those of about 1.4 billion, the largest.
_EQUAL = ("openelm-450m", "bloom-560m")
_SMALL = ("smollm-135m", "pythia-160m", "openelm-270m", "smollm-360m")
_MIDDLE = ("phi-1.5", "phi-1", "pythia-1.4b", "qwen2-1.5b", "openelm-1.1b", "bloom-1.1b")
_MOST_TOGETHER = 4  # models whose files are on the disk at one time


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One file: a model, by its source as typed and its name in records, at one level."""

    source: str
    model: str
    level: str


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """Files that are measured together, round by round, and deleted before the next stage."""

    what: str
    pieces: tuple[Piece, ...]
    observed: tuple[str, ...] = ()  # models whose operators are timed
    sustained: str | None = None  # the model whose load is sustained


class SurveyModels(msgspec.Struct, frozen=True, kw_only=True):
    """The models, in the order of their names as typed: sources by name in records."""

    sources: dict[str, str]
    pair: tuple[str, ...]  # whose operators are timed
    of_levels: str  # that has the levels of figure 8

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """Every file of every figure, each once."""
        usual = [Piece(source=source, model=name, level=LEVEL) for name, source in self.sources.items()]
        return tuple(dict.fromkeys([*usual, *self.pieces_of_levels]))

    @property
    def pieces_of_levels(self) -> tuple[Piece, ...]:
        """The files of figure 8."""
        source = self.sources[self.of_levels]
        return tuple(Piece(source=source, model=self.of_levels, level=level) for level in published_levels())


def survey_models(sources: dict[str, str] | None = None) -> SurveyModels:
    """Return the models to show: those of figure 7, or the sources that were typed, by their names in records."""
    chosen = sources or {name: name for name in published_models()}
    pair = tuple(name for name in PAIR if name in chosen) or tuple(chosen)[:2]
    levels_model = registered(LEVELS_MODEL).name
    of_levels = levels_model if levels_model in chosen else list(chosen)[-1]
    return SurveyModels(sources=chosen, pair=pair, of_levels=of_levels)


def stages(models: SurveyModels) -> list[Stage]:
    """Return the stages in the order in which they tell most."""
    return [stage for stage in _named_stages(models) if stage.pieces]


def _named_stages(models: SurveyModels) -> Iterator[Stage]:
    equal = dict.fromkeys([*models.pair, *_EQUAL])
    rest = [name for name in models.sources if name not in {*equal, *_SMALL, *_MIDDLE}]
    yield Stage(
        what="the compared pair and models of its size",
        pieces=_pieces(models, equal),
        observed=models.pair,
        sustained=models.pair[0],
    )
    yield Stage(what="small models, for the range of sizes", pieces=_pieces(models, _SMALL))
    yield Stage(what=f"the levels of {models.of_levels}", pieces=models.pieces_of_levels)
    yield Stage(what="models of about 1.4 billion parameters", pieces=_pieces(models, _MIDDLE))
    for first in range(0, len(rest), _MOST_TOGETHER):
        yield Stage(what="other models", pieces=_pieces(models, rest[first : first + _MOST_TOGETHER]))


def _pieces(models: SurveyModels, names: Iterable[str]) -> tuple[Piece, ...]:
    return tuple(
        Piece(source=models.sources[name], model=name, level=LEVEL) for name in names if name in models.sources
    )


def left_of(
    stage: Stage,
    n_rounds: Mapping[tuple[str, str], int],
    observed: Collection[str],
    too_large: Collection[Piece],
    *,
    sustains: bool,
) -> Stage:
    """Return what of a stage is still to be measured.

    Args:
        n_rounds: those that are measured, by model and level.
        observed: models whose operators are timed.
        too_large: what does not fit in memory.
        sustains: whether a load is still to be sustained.
    """
    sustained = stage.sustained if sustains else None
    unobserved = tuple(name for name in stage.observed if name not in observed)
    pieces = tuple(
        piece
        for piece in stage.pieces
        if piece not in too_large
        and (n_rounds.get((piece.model, piece.level), 0) < ROUNDS or piece.model in (*unobserved, sustained))
    )
    return Stage(what=stage.what, pieces=pieces, observed=unobserved, sustained=sustained)
