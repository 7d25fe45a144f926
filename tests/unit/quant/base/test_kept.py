"""Values that are kept in the cache folder: lost and damaged ones are found out again."""

from pathlib import Path

import pytest

from quant.base.errors import UserError
from quant.base.kept import KeptJson

KEPT = KeptJson("notes/one.json", dict[str, int])


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_value_is_found_out_once() -> None:
    answers = [{"a": 1}, {"a": 2}]
    assert KEPT.read() is None
    assert KEPT.read_or(lambda: answers.pop(0)) == {"a": 1}
    assert KEPT.read_or(lambda: answers.pop(0)) == {"a": 1}
    assert KEPT.read() == {"a": 1}


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": "b"}', b"\xff", b'{"a\xff": 1}', b"[" * 100_000, b"null"])
def test_a_damaged_value_is_none(cache: Path, content: bytes) -> None:
    (cache / "notes").mkdir(parents=True)
    (cache / "notes" / "one.json").write_bytes(content)
    assert KEPT.read() is None


def test_false_is_a_value() -> None:
    kept = KeptJson("notes/two.json", bool)
    kept.write(False)
    assert kept.read_or(lambda: True) is False


def test_a_folder_that_cannot_be_written_costs_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "file"))
    assert KEPT.read_or(lambda: {"a": 1}) == {"a": 1}
    with pytest.raises(UserError, match="SLMPROF_CACHE"):
        KEPT.write({"a": 1})
