"""A sustained load on a real model, from the command line to the choice; seconds, where users take minutes."""

import json
from pathlib import Path

from tests.support.commandline import slmprof


def test_a_load_is_sustained_shown_and_chosen_from(tmp_path: Path, tiny: Path, cache: Path) -> None:
    results = tmp_path / "hot.jsonl"
    command = ["profile", tiny, "-q", "Q8_0", "-t", "1", "--workload", "survey", "--sustain", "2s", "-o", results]
    done = slmprof(*command, cache=cache)
    assert done.status == 0, done.err
    assert "minute by minute" in done.out
    (cell,) = json.loads(slmprof("export", results, "--format", "json", cache=cache).out)
    assert (cell["sustain_s"], cell["rounds"], cell["status"]) == (2, 1, "ok")
    assert cell["reps"] > 1
    assert cell["first_minute_decode_tps"] > 0
    lines = results.read_text().count("\n")
    assert slmprof(*command, cache=cache).status == 0
    assert results.read_text().count("\n") == lines  # it is done
    chosen = slmprof("recommend", results, "--sustained", "--json", cache=cache)
    assert json.loads(chosen.out)["choices"][0]["sustain_s"] == 2
    wrong = slmprof(*command, "--rounds", "3", cache=cache)
    assert wrong.status == 2
    assert "--rounds" in wrong.err
