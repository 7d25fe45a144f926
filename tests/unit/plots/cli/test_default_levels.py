"""Without -q: a GGUF file as it is, also beside a checkpoint; of a hub's GGUF files, what the command says."""

from pathlib import Path
from typing import Any

import pytest

import plots.cli.run
import quant.sources.prepare
from quant.sources.prepare import DEFAULT_LEVELS, Prepared, PrepareOptions, prepare
from tests.support.cells import artifact
from tests.support.commandline import parse_example
from tests.support.ggufs import tiny_gguf


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def options_of_run(monkeypatch: pytest.MonkeyPatch, line: str) -> PrepareOptions:
    asked: list[Any] = []

    class Stopped(Exception):  # noqa: N818  not an error
        pass

    def stop(request: Any) -> None:
        asked.append(request)
        raise Stopped

    monkeypatch.setattr("profiler.cli.profile.measure_and_show", stop)
    context = parse_example(line)
    with context, pytest.raises(Stopped):
        context.invoke(plots.cli.run.run.callback, **context.params)
    (request,) = asked
    assert isinstance(request.prepare_options, PrepareOptions)
    return request.prepare_options


def test_run_asks_for_no_level_that_was_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare_options = options_of_run(monkeypatch, "slmprof run smollm2-135m other.gguf -t 1 -o out")
    assert (prepare_options.levels, prepare_options.hub_levels) == (None, DEFAULT_LEVELS)
    assert options_of_run(monkeypatch, "slmprof run smollm2-135m -q Q8_0 -t 1 -o out").levels == "Q8_0"


def test_a_gguf_file_beside_a_checkpoint_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tiny_gguf(tmp_path / "other-F16.gguf", n_vocab=64, n_layer=1, n_ff=256)
    made = Prepared(artifact=artifact("c" * 64), path=tmp_path / "made.gguf")
    monkeypatch.setattr(quant.sources.prepare._Maker, "_from_checkpoint", lambda *_: [made])
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "config.json").write_text("{}")
    prepare_options = PrepareOptions(levels=None, models_dir=tmp_path / "models", hub_levels=DEFAULT_LEVELS)
    found = prepare([str(file), str(tmp_path / "checkpoint")], prepare_options)
    assert [each.path for each in found] == [file, made.path]
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(
    ("typed", "of_the_command", "taken"),
    [(None, None, None), (None, "Q4_0,Q8_0", ["Q4_0", "Q8_0"]), ("Q6_K", "Q8_0", ["Q6_K"])],
)
def test_from_a_repository_of_gguf_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: str | None, of_the_command: str | None, taken: Any
) -> None:
    file = tiny_gguf(tmp_path / "x-F16.gguf", n_vocab=64, n_layer=1, n_ff=256)
    asked: list[Any] = []

    def pull_ggufs(repo: str, levels: Any, *_: Any, **__: Any) -> dict[str, list[Path]]:
        asked.append((repo, levels))
        return {"F16": [file]}

    monkeypatch.setattr("quant.hub.fetch.holds_ggufs", lambda *_: True)
    monkeypatch.setattr("quant.hub.fetch.gguf_levels", lambda *_: ["Q4_0", "Q6_K", "Q8_0"])
    monkeypatch.setattr("quant.hub.fetch.pull_ggufs", pull_ggufs)
    prepare_options = PrepareOptions(levels=typed, models_dir=tmp_path / "models", hub_levels=of_the_command)
    (found,) = prepare(["org/x-GGUF"], prepare_options)
    assert asked == [("org/x-GGUF", taken)]
    assert (found.path, found.artifact.source) == (file, "org/x-GGUF")
