"""Which rounds of a results file the survey shows, and what it says of those that it does not."""

from pathlib import Path

import msgspec

from plots.survey.estimates import Board
from plots.survey.gather import _set_aside
from plots.survey.measure import Measuring
from plots.survey.plan import LEVEL, survey_models
from profiler.records.environment import Environment
from profiler.records.failure import Doubt
from tests.support.cells import artifact
from tests.support.rounds import a_round, with_cell, write_lines
from tests.support.summaries import ENVIRONMENT
from tests.support.surveys import near, point

FILES = [
    msgspec.structs.replace(artifact(letter * 64), model="phi-1.5", level=level, weights="synthetic")
    for letter, level in (("a", LEVEL), ("b", "Q8_0"))
]
POINT = point("phi-1.5", 1418.3, near(50.0))


def measuring(folder: Path, *, drifting: tuple[int, ...]) -> Measuring:
    """A survey with two rounds of each of two levels; of one, these rounds are doubtful."""
    rounds = [
        msgspec.structs.replace(
            with_cell(a_round(number, env_id=ENVIRONMENT.id), file.sha256, workload="survey", n_threads=4),
            doubt=Doubt(name="drifting", message="slow") if file.level != LEVEL and number in drifting else None,
        )
        for file in FILES
        for number in range(2)
    ]
    environment: Environment = ENVIRONMENT
    write_lines(folder / "results.jsonl", environment, *FILES, *rounds)
    board = Board(env_id=environment.id, n_threads=4, repack=True)
    models = survey_models({"phi-1.5": "phi-1.5"})
    return Measuring(models=models, board=board, environment=environment, folder=folder, budget_s=60, need_bytes={})


def test_rounds_in_doubt_are_not_shown_and_are_named_where_a_file_has_no_others(tmp_path: Path) -> None:
    assert _set_aside(measuring(tmp_path, drifting=()), [POINT]) == []
    some = measuring(tmp_path, drifting=(0,))
    assert len(list(some.rounds())) == 3
    both = [POINT, msgspec.structs.replace(POINT, level="Q8_0")]
    assert _set_aside(some, both)[0].startswith("1 round is set aside")
    (line,) = _set_aside(measuring(tmp_path, drifting=(0, 1)), [POINT])
    assert line.startswith("2 rounds are set aside")
    assert line.endswith("Phi-1.5 Q8_0 has no others.")
