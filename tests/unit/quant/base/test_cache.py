"""The folder of kept files: what is listed, and that cleaning stays inside."""

import re
from pathlib import Path

import pytest

from quant.base.cache import KNOWN, clean, entries
from quant.base.errors import UserError
from tests.support.paths import ROOT


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "cache"
    (root / "models").mkdir(parents=True)
    (root / "models" / "m-F16.gguf").write_bytes(b"x" * 1000)
    (root / "quality" / "abc").mkdir(parents=True)
    (root / "quality" / "abc" / "window-0").write_bytes(b"x" * 3000)
    (root / "quantized").mkdir()
    (root / "quantized" / "note.json").write_bytes(b"x" * 10)
    (root / "hashes.json").write_bytes(b"x" * 20)
    (root / "locks").mkdir()
    (root / "locks" / "a.lock").touch()
    monkeypatch.setenv("SLMPROF_CACHE", str(root))
    return root


def test_the_largest_comes_first_and_small_facts_are_one(kept: Path) -> None:
    listed = [(entry.name, entry.n_bytes) for entry in entries()]
    assert listed == [("quality/abc", 3000), ("models/m-F16.gguf", 1000), ("notes", 30)]
    assert all(entry.changed_s > 0 for entry in entries())


def test_cleaning_removes_all_but_the_locks(kept: Path) -> None:
    assert clean() == 4030
    assert [path.name for path in kept.iterdir()] == ["locks"]
    assert entries() == []
    assert clean() == 0


def test_cleaning_does_not_follow_links(kept: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("mine")
    (kept / "models" / "link").symlink_to(outside)
    (kept / "conversions").symlink_to(outside)
    clean()
    assert (outside / "precious").read_text() == "mine"
    assert not (kept / "conversions").exists()


def test_a_folder_with_other_things_is_left_alone(kept: Path) -> None:
    (kept / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt, which slmprof did not put there"):
        clean()
    assert (kept / "models" / "m-F16.gguf").exists()


def test_no_folder_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "none"))
    assert entries() == []
    assert clean() == 0


def test_every_place_in_the_cache_is_known() -> None:
    used = {
        name
        for package in ("quant", "profiler", "plots")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r'(?:cache_dir\(\) / |KeptJson\()f?"([^"/]+)', path.read_text(encoding="utf-8"))
    }
    assert {"models", "locks", "backend", "quantized"} <= used
    assert used <= set(KNOWN)
