"""What stands under the name of an output is written into: a device, a pipe, a link, a descriptor, a file's mode."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from quant.base.errors import UserError
from quant.base.files import atomic_path, cache_dir, is_stream, move_to, readable_again, write_text
from quant.base.kept import KeptJson
from tests.support.paths import ROOT


def test_a_pipe_receives_the_content_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "rows\n")
    reader.join(timeout=10)
    assert received == ["rows\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_device_receives_the_content_and_stays_a_device() -> None:
    ours, theirs = os.openpty()
    device = Path(os.ttyname(theirs))
    before = device.stat()
    write_text(device, "rows")
    assert os.read(ours, 100) == b"rows"
    after = device.stat()
    assert (after.st_ino, after.st_rdev, after.st_mode) == (before.st_ino, before.st_rdev, before.st_mode)
    os.close(ours)
    os.close(theirs)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_root_does_not_replace_a_device(tmp_path: Path) -> None:
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        pytest.skip("this system makes no devices")
    write_text(device, "rows")
    assert stat.S_ISCHR(device.stat().st_mode)


@pytest.mark.parametrize("chain", [1, 3])
def test_the_file_behind_a_link_is_written(tmp_path: Path, chain: int) -> None:
    target = tmp_path / "folder" / "target.csv"
    target.parent.mkdir()
    target.write_text("old")
    link = target
    for number in range(chain):
        (tmp_path / f"link{number}").symlink_to(link)
        link = tmp_path / f"link{number}"
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert not target.is_symlink()


def test_a_link_to_nothing_yet_is_filled(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("later.csv")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "later.csv").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_a_link_to_itself_is_one_line_and_stays(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(UserError, match="cannot write"):
        write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_a_file_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    target.chmod(mode)
    write_text(target, "new")
    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_the_shells_redirection_is_appended_to(tmp_path: Path, name: str) -> None:
    if not Path(name).parent.is_dir():
        pytest.skip("this system has no such name")
    out = tmp_path / "out"
    out.write_text("before\n")
    code = f"from pathlib import Path; from quant.base.files import write_text; write_text(Path({name!r}), 'rows\\n')"
    with out.open("a") as stdout:
        subprocess.run([sys.executable, "-c", code], stdout=stdout, check=True, cwd=ROOT)
    assert out.read_text() == "before\nrows\n"


def test_what_is_read_again_can_only_be_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "made").write_text("model")
    with pytest.raises(UserError, match="device or a pipe"), atomic_path(tmp_path / "pipe", read_again=True):
        pytest.fail("it must not begin")
    with pytest.raises(UserError, match="device or a pipe"):
        move_to(tmp_path / "made", tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_results_go_to_a_pipe_when_they_have_been_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    received: list[str] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_text()))
    reader.start()
    with readable_again(tmp_path / "pipe") as path:
        path.write_text("line\n")
        assert path.read_text() == "line\n"
    reader.join(timeout=10)
    assert received == ["line\n"]
    with readable_again(tmp_path / "file") as path:
        assert path == tmp_path / "file"


def test_a_moved_file_takes_the_place_behind_the_link(tmp_path: Path) -> None:
    (tmp_path / "made").write_text("model")
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    move_to(tmp_path / "made", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "model"


def test_ordinary_names_are_no_streams(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert [is_stream(tmp_path / name) for name in ("file", "none", "")] == [False, False, False]


def test_without_a_home_nothing_is_kept_and_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SLMPROF_CACHE", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for a user without an entry and without HOME
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_args, **_more: "~/.cache/slmprof")
    assert cache_dir().is_absolute()
    kept = KeptJson("facts/one.json", int)
    assert kept.read_or(lambda: 7) == 7
    with pytest.raises(UserError, match="SLMPROF_CACHE"):
        kept.write(7)
    assert list(tmp_path.iterdir()) == []
