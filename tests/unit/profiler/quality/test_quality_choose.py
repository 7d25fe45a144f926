"""Which file the levels are compared with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from profiler.quality import choose as module
from profiler.quality.choose import Chosen, choose
from quant.base.errors import UserError
from quant.base.progress import watch
from quant.sources.prepare import Prepared, PrepareOptions
from quant.sources.resolve import Source
from tests.support.cells import artifact


class Making:
    """Files that are made in name only; `requested` lists the requests, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: str, level: str = "F16", weights: str = "real") -> None:
        self._own, self._weights = level, weights
        self.requested: list[tuple[str | None, Path | None]] = []
        self.said: list[str] = []
        monkeypatch.setattr(module, "resolve", lambda text: Source(text=text, kind=kind))
        monkeypatch.setattr(module, "prepare", self._prepare)

    def _prepare(self, _sources: Sequence[str], prepare_options: PrepareOptions, **_: Any) -> list[Prepared]:
        self.requested.append((prepare_options.levels, prepare_options.imatrix))
        levels = (prepare_options.levels or self._own).split(",")
        return [
            Prepared(artifact=artifact(sha256=level, level=level, weights=self._weights), path=Path(level))
            for level in levels
        ]

    def choose(self, levels: str | None, **prepare_options: Any) -> Chosen:
        request = PrepareOptions(levels=levels, models_dir=Path("models"), **prepare_options)
        with watch(say=self.said.append):
            return choose("source", request)


def levels_of(chosen: Chosen) -> tuple[list[str], str | None]:
    reference = chosen.reference.artifact.level if chosen.reference else None
    return [file.artifact.level for file in chosen.all_files], reference


def test_the_first_unquantized_level_that_is_named_is_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making(monkeypatch, "directory")
    assert levels_of(making.choose("Q8_0,BF16,F16")) == (["Q8_0", "BF16", "F16"], "BF16")
    assert len(making.requested) == 1


def test_without_one_f16_is_made_and_is_not_touched_by_the_importance_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making(monkeypatch, "directory")
    assert levels_of(making.choose("Q2_K", imatrix=Path("i.gguf"))) == (["F16", "Q2_K"], "F16")
    assert making.requested == [("Q2_K", Path("i.gguf")), ("F16", None)]


def test_a_gguf_file_is_itself_the_reference_where_it_is_unquantized(monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making(monkeypatch, "gguf", level="F32")
    assert levels_of(making.choose(None)) == (["F32"], "F32")
    assert levels_of(making.choose("Q8_0")) == (["F32", "Q8_0"], "F32")


def test_a_quantized_gguf_file_has_no_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    making = Making(monkeypatch, "gguf", level="Q8_0")
    assert levels_of(making.choose(None)) == (["Q8_0"], None)
    assert len(making.said) == 1
    assert making.said[0].startswith("source has no unquantized file; only perplexity is measured, no KLD; --reference")


def test_synthetic_weights_are_refused_before_anything_is_made_where_requested(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    making = Making(monkeypatch, "directory", weights="synthetic")
    with pytest.raises(UserError, match="synthetic weights are random numbers"):
        making.choose("Q8_0", synthetic=True)
    assert making.requested == []
    with pytest.raises(UserError, match="synthetic weights are random numbers"):
        making.choose("Q8_0")
    assert making.requested == [("Q8_0", None)]
