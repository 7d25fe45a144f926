"""Files written whole or not at all, room on the disk, remembered hashes, and locks between processes."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from quant.base import files, hashes
from quant.base.errors import UserError
from quant.base.files import atomic_path, cache_dir, require_space, sha256_of, write_text
from quant.base.hashes import cached_sha256
from quant.base.locks import alone
from quant.base.progress import watch
from tests.support.paths import ROOT

MIB = 1 << 20


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _refusal(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    return str(error.value)


def _fails_inside(target: Path, error: BaseException) -> None:
    with atomic_path(target) as part:
        part.write_text("half")
        raise error


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- atomic_path


def test_a_file_takes_its_name_only_at_the_end(tmp_path):
    target = tmp_path / "out" / "deep" / "m.gguf"
    with atomic_path(target) as part:
        assert part.parent == target.parent
        part.write_text("whole")
        assert not target.exists()
        assert _names(target.parent) == [part.name]
    assert _names(target.parent) == ["m.gguf"]
    assert target.read_text() == "whole"


def test_an_unfinished_file_is_hidden_and_cannot_be_taken_for_a_model(tmp_path):
    with atomic_path(tmp_path / "m.gguf") as part:
        assert part.name.startswith(".m.gguf.")
        assert part.suffix == ".part"


@pytest.mark.parametrize("error", [ValueError("x"), UserError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_nothing_is_left_of_a_block_that_fails(tmp_path, error):
    with pytest.raises(type(error)):
        _fails_inside(tmp_path / "new.txt", error)
    assert _names(tmp_path) == []


def test_the_old_file_stays_when_its_replacement_fails(tmp_path):
    target = tmp_path / "m.txt"
    target.write_text("old")
    with pytest.raises(ValueError):
        _fails_inside(target, ValueError())
    assert (_names(tmp_path), target.read_text()) == (["m.txt"], "old")


def test_an_existing_file_is_replaced_whole(tmp_path):
    target = tmp_path / "m.txt"
    target.write_text("a much longer old text")
    with target.open() as reader:
        with atomic_path(target) as part:
            part.write_text("new")
            assert target.read_text() == "a much longer old text"
        assert reader.read() == "a much longer old text"  # whoever reads the old one goes on reading it
    assert (_names(tmp_path), target.read_text()) == (["m.txt"], "new")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_text(tmp_path / "m.txt", "text")
        assert os.umask(umask) == umask  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m.txt").stat().st_mode) == mode


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    said = _refusal(lambda: _fails_inside(tmp_path / "m.gguf", OSError(28, "No space left on device")))
    assert said == f"cannot write {tmp_path / 'm.gguf'}: No space left on device; free space or choose another -o"
    assert _names(tmp_path) == []


def test_a_disk_that_fills_up_when_the_file_is_closed_leaves_nothing(tmp_path, monkeypatch):
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    assert "No space left on device" in _refusal(lambda: write_text(tmp_path / "m.txt", "text"))
    assert _names(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    said = _refusal(lambda: write_text(tmp_path / "file" / "m.txt", "text"))
    assert said.startswith(f"cannot write {tmp_path / 'file' / 'm.txt'}: ")
    assert said.endswith("; choose another -o")


def test_a_folder_in_the_place_of_the_file_is_one_line_and_stays(tmp_path):
    (tmp_path / "m.gguf").mkdir()
    assert f"cannot write {tmp_path / 'm.gguf'}: Is a directory" in _refusal(
        lambda: write_text(tmp_path / "m.gguf", "text")
    )
    assert _names(tmp_path) == ["m.gguf"]


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    target = tmp_path / "m.txt"
    with atomic_path(target) as one:
        one.write_text("one")
        write_text(target, "two")
        assert target.read_text() == "two"
    assert (_names(tmp_path), target.read_text()) == (["m.txt"], "one")


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    target = tmp_path / ("模" * 83 + ".gguf")  # 254 bytes, and the temporary name is longer
    write_text(target, "text")
    assert _names(tmp_path) == [target.name]


def test_text_is_utf_8_whatever_the_locale(tmp_path):
    write_text(tmp_path / "m.txt", "1 µs, naïve, 模型\n")
    assert (tmp_path / "m.txt").read_bytes() == "1 µs, naïve, 模型\n".encode()


# --- room


class _Usage(NamedTuple):
    total: int
    used: int
    free: int


def _free(monkeypatch, free_bytes: int) -> list[Path]:
    """Pretend that a disk has so much room; return the folders that were asked about."""
    asked: list[Path] = []

    def usage(path: Path) -> _Usage:
        asked.append(path)
        return _Usage(1 << 50, 0, free_bytes)

    monkeypatch.setattr(files.shutil, "disk_usage", usage)
    return asked


def test_too_little_room_is_refused_with_both_sizes(tmp_path, monkeypatch):
    _free(monkeypatch, 5 * MIB)
    assert _refusal(lambda: require_space(tmp_path, 3 << 30, "the converted file")) == (
        f"the converted file needs 3.00 GiB in {tmp_path}, only 5.0 MiB are free; "
        "free space, or choose another folder (-o, or SLMPROF_CACHE for kept files)"
    )


@pytest.mark.parametrize(("free_bytes", "enough"), [(1009, False), (1010, True), (1 << 40, True), (0, False)])
def test_a_margin_of_one_percent_is_kept(tmp_path, monkeypatch, free_bytes, enough):
    _free(monkeypatch, free_bytes)
    if enough:
        require_space(tmp_path, 1000, "it")
    else:
        assert "it needs 1000 B" in _refusal(lambda: require_space(tmp_path, 1000, "it"))


def test_the_disk_of_a_folder_that_is_not_yet_there_is_that_of_its_nearest_parent(tmp_path, monkeypatch):
    asked = _free(monkeypatch, 1 << 40)
    require_space(tmp_path / "not" / "there", 1000, "it")
    monkeypatch.chdir(tmp_path)
    require_space(Path("neither/this"), 1000, "it")
    assert asked == [tmp_path, tmp_path]
    assert _names(tmp_path) == []


# --- hashes


def test_one_file_is_hashed_as_sha256sum_does(tmp_path):
    (tmp_path / "m").write_bytes(b"abc")
    # Source: the example of FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of([tmp_path / "m"]) == expected
    assert cached_sha256([tmp_path / "m"]) == expected


def test_shards_are_hashed_as_the_list_of_their_hashes(tmp_path):
    contents = (b"one" * MIB, b"", b"three")
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    listed = "".join(hashlib.sha256(content).hexdigest() for content in contents)
    expected = hashlib.sha256(listed.encode()).hexdigest()
    assert sha256_of(paths) == expected
    assert cached_sha256(paths) == expected
    assert cached_sha256(paths[::-1]) != expected


def test_progress_counts_the_bytes_of_all_shards(tmp_path):
    for name, size in (("a", MIB + 1), ("b", 2)):
        (tmp_path / name).write_bytes(bytes(size))
    seen = []
    with watch(progress=lambda *step: seen.append(step)):
        sha256_of([tmp_path / "a", tmp_path / "b"])
    total = MIB + 3
    assert seen == [("hash", MIB, total), ("hash", MIB + 1, total), ("hash", MIB + 3, total)]


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the files that are read to be hashed."""
    seen: list[str] = []

    def read(paths: list[Path], *rest: Any) -> str:
        seen.extend(path.name for path in paths)
        return sha256_of(paths, *rest)

    monkeypatch.setattr(hashes, "sha256_of", read)
    return seen


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_an_unchanged_file_is_read_once_under_any_of_its_names(tmp_path, reads, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    (tmp_path / "link").symlink_to(path)
    monkeypatch.chdir(tmp_path)
    assert {cached_sha256([each]) for each in (path, Path("m"), tmp_path / "link")} == {_sha256(b"abc")}
    assert reads == ["m"]


def test_a_changed_file_is_read_again(tmp_path, reads):
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    cached_sha256([path])
    path.write_bytes(b"abcd")
    assert cached_sha256([path]) == _sha256(b"abcd")
    assert reads == ["m", "m"]


def test_a_file_put_in_its_place_with_the_same_size_and_time_is_read_again(tmp_path, reads):
    path, other = tmp_path / "m", tmp_path / "other"
    path.write_bytes(b"abc")
    cached_sha256([path])
    other.write_bytes(b"xyz")
    status = path.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)
    assert cached_sha256([path]) == _sha256(b"xyz")
    assert reads == ["m", "m"]


def test_of_several_shards_only_the_changed_one_is_read_again(tmp_path, reads):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(b"x")
    cached_sha256(paths)
    paths[1].write_bytes(b"yy")
    cached_sha256(paths)
    assert reads == ["a", "b", "b"]


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, cache, monkeypatch):
    path = tmp_path / "m"
    path.write_bytes(b"abc")

    def change(paths: list[Path], *_rest: Any) -> str:
        digest = sha256_of(paths)
        path.write_bytes(b"changed")
        return digest

    monkeypatch.setattr(hashes, "sha256_of", change)
    assert cached_sha256([path]) == _sha256(b"abc")
    assert not (cache / "hashes.json").exists()


@pytest.mark.parametrize("memory", ["", "{", "[]", "null", "\x00", '{"PATH": 1}', '{"PATH": []}', '{"PATH": ["x"]}'])
def test_a_damaged_memory_is_written_anew(tmp_path, cache, reads, memory):
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    cache.mkdir()
    (cache / "hashes.json").write_text(memory.replace("PATH", str(path)))
    assert cached_sha256([path]) == _sha256(b"abc")
    assert cached_sha256([path]) == _sha256(b"abc")
    assert reads == ["m"]


def test_a_hash_that_is_none_is_not_believed(tmp_path, cache, reads):
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    cached_sha256([path])
    memory = json.loads((cache / "hashes.json").read_text())
    memory[str(path)][-1] = "short"
    (cache / "hashes.json").write_text(json.dumps(memory))
    assert cached_sha256([path]) == _sha256(b"abc")
    assert reads == ["m", "m"]


def test_a_cache_that_cannot_be_written_costs_nothing_but_reading_again(tmp_path, monkeypatch, reads):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "file"))
    path = tmp_path / "m"
    path.write_bytes(b"abc")
    assert [cached_sha256([path]) for _ in range(2)] == [_sha256(b"abc")] * 2
    assert reads == ["m", "m"]
    assert _names(tmp_path) == ["file", "m"]


def test_the_memory_keeps_the_newest_entries(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hashes, "_KEPT_FILES", 2)
    for name in ("gone", "a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
        cached_sha256([tmp_path / name])
        (tmp_path / "gone").unlink(missing_ok=True)
    assert list(json.loads((cache / "hashes.json").read_text())) == [str(tmp_path / "b"), str(tmp_path / "c")]


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    assert _refusal(lambda: cached_sha256([tmp_path / "none"])) == (
        f"cannot read {tmp_path / 'none'}: No such file or directory; check its permissions"
    )


# --- the cache's folder


def test_the_cache_is_where_the_variable_says_else_in_the_users_folder(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("SLMPROF_CACHE", "~/models")
    assert cache_dir() == tmp_path / "models"
    monkeypatch.setenv("SLMPROF_CACHE", "")
    assert cache_dir().name == "slmprof"
    assert cache_dir().is_relative_to(tmp_path)


# --- locks


def test_a_lock_lies_in_the_cache_and_not_beside_the_file(tmp_path, cache):
    with alone(tmp_path / "m.gguf"):
        assert _names(tmp_path) == ["cache"]
        assert [path.suffix for path in (cache / "locks").iterdir()] == [".lock"]


def test_different_files_have_different_locks(tmp_path):
    with alone(tmp_path / "a.gguf"), alone(tmp_path / "b.gguf"):
        pass  # one lock for both would wait for ever


def test_a_second_thread_waits_until_the_first_is_done(tmp_path):
    events: list[str] = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with alone(tmp_path / "m.gguf"):
            events.append("second")

    thread = threading.Thread(target=second)
    with alone(tmp_path / "m.gguf"):
        thread.start()
        assert started.wait(10)
        thread.join(0.1)
        assert thread.is_alive()
        events.append("first")
    thread.join(10)
    assert events == ["first", "second"]


def test_a_lock_is_freed_when_the_block_fails(tmp_path):
    for _ in range(2):
        with pytest.raises(ValueError), alone(tmp_path / "m.gguf"):
            raise ValueError


_HOLDER = """
import sys, time
from pathlib import Path
from quant.base.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_process_that_dies_frees_its_lock(tmp_path):
    settings = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", _HOLDER, str(tmp_path / "m.gguf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=settings) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        events: list[str] = []
        waiter = threading.Thread(target=lambda: _take(tmp_path / "m.gguf", events))
        waiter.start()
        waiter.join(0.1)
        assert events == []
        holder.kill()
        waiter.join(10)
        assert events == ["taken"]


def _take(target: Path, events: list[str]) -> None:
    with alone(target):
        events.append("taken")


def test_a_cache_that_cannot_hold_locks_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "file"))

    def hold() -> None:
        with alone(tmp_path / "m.gguf"):
            pytest.fail("there is no lock")

    said = _refusal(hold)
    assert said.startswith(f"cannot write {tmp_path / 'file' / 'locks'}: ")
    assert said.endswith("; set SLMPROF_CACHE to another folder")
