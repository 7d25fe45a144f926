"""A process's own memory: the text of /proc on Linux, the struct of macOS, psutil's figures on Windows."""

import ctypes
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from profiler.device.memory import darwin, linux, windows
from profiler.device.memory.reader import read_memory
from profiler.records.round import Memory

KIB = 1024

STATUS = """\
Name:\tpython3
Umask:\t0022
State:\tR (running)
VmPeak:\t 1700000 kB
VmSize:\t 1600000 kB
VmHWM:\t  620000 kB
VmRSS:\t  610000 kB
RssAnon:\t  150000 kB
RssFile:\t  459000 kB
RssShmem:\t    1000 kB
VmSwap:\t      12 kB
Threads:\t4
nonvoluntary_ctxt_switches:\t9
"""
ROLLUP = """\
55d0c0e00000-7ffd9b5fe000 ---p 00000000 00:00 0                          [rollup]
Rss:              610000 kB
Pss:              400000 kB
Pss_Anon:         150000 kB
Pss_File:         249500 kB
Shared_Clean:     420000 kB
Shared_Dirty:          0 kB
Private_Clean:     40000 kB
Private_Dirty:    150000 kB
Referenced:       600000 kB
Swap:                 12 kB
Private_Hugetlb:    2048 kB
"""


def test_the_files_of_linux() -> None:
    assert linux.parse(STATUS, ROLLUP) == Memory(
        rss_bytes=610_000 * KIB,
        anon_bytes=150_000 * KIB,
        file_backed_bytes=(459_000 + 1000) * KIB,  # a file on a tmpfs counts as shared memory
        pss_bytes=400_000 * KIB,
        uss_bytes=(40_000 + 150_000 + 2048) * KIB,
        swap_bytes=12 * KIB,
        peak_rss_bytes=620_000 * KIB,
    )


def test_a_kernel_without_a_rollup_leaves_its_figures_out() -> None:
    found = linux.parse(STATUS, "")
    assert (found.pss_bytes, found.uss_bytes) == (None, None)
    assert found.rss_bytes == 610_000 * KIB


def test_a_kernel_that_does_not_split_the_resident_size() -> None:
    found = linux.parse("VmHWM:\t 900 kB\nVmRSS:\t 800 kB\n", "")
    assert found == Memory(rss_bytes=800 * KIB, peak_rss_bytes=900 * KIB)


def test_missing_files_are_no_error(tmp_path: Path) -> None:
    assert linux.read(tmp_path) == Memory()


def test_the_files_are_read_from_their_folder(tmp_path: Path) -> None:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "smaps_rollup").write_text(ROLLUP)
    assert linux.read(tmp_path) == linux.parse(STATUS, ROLLUP)


def test_odd_lines_are_left_out() -> None:
    assert linux.parse("VmRSS:\t-5 kB\nVmHWM:\t7 MB\nRssAnon\nRssFile: many kB\n", "Pss: 1 2 kB\n") == Memory()


def test_the_struct_of_macos_has_the_systems_layout() -> None:
    # struct rusage_info_v4: a uuid of 16 bytes, then 35 counters of 8 bytes; the footprint is the eighth.
    assert ctypes.sizeof(darwin.RusageInfoV4) == 296
    assert darwin.RusageInfoV4.resident_size.offset == 16 + 6 * 8
    assert darwin.RusageInfoV4.phys_footprint.offset == 16 + 7 * 8
    assert darwin.RusageInfoV4.lifetime_max_phys_footprint.offset == 16 + 28 * 8


def test_the_figures_of_macos() -> None:
    data = bytearray(296)
    data[16 + 6 * 8 : 16 + 7 * 8] = (700_000_000).to_bytes(8, "little")
    data[16 + 7 * 8 : 16 + 8 * 8] = (650_000_000).to_bytes(8, "little")
    info = darwin.RusageInfoV4.from_buffer(data)
    assert darwin.from_info(info, 720_000_000) == Memory(
        rss_bytes=700_000_000,
        peak_rss_bytes=720_000_000,  # bytes, where Linux has KiB
        footprint_bytes=650_000_000,
    )


def test_the_figures_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(rss=100, peak_wset=120, private=90)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: info))
    assert windows.read() == Memory(rss_bytes=100, peak_rss_bytes=120)


def test_this_process_holds_memory() -> None:
    found = read_memory()
    assert found.rss_bytes is not None
    assert found.rss_bytes > 1 << 20


SMAPS = """\
7f0000000000-7f0000100000 r--s 00000000 00:1b 77                         /models/a model.gguf
Size:               1024 kB
Rss:                 600 kB
Pss:                 300 kB
VmFlags: rd sh mr
7f0000100000-7f0000200000 rw-p 00000000 00:00 0
Rss:                9000 kB
7f0000200000-7f0000300000 r-xp 00000000 fe:01 5                          /lib/libllama.so
Rss:                 512 kB
7f0000300000-7f0000400000 r--s 00100000 00:1b 77                         /models/a model.gguf
Rss:                  40 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
Rss:                  16 kB
"""


def test_of_the_models_mappings_the_resident_pages_are_added_up() -> None:
    found = linux.parse(STATUS, ROLLUP, SMAPS, {"/models/a model.gguf"})
    assert found.mapped_bytes == 640 * KIB


def test_a_model_that_was_read_has_no_mapping() -> None:
    assert linux.parse(STATUS, ROLLUP, SMAPS, {"/models/other.gguf"}).mapped_bytes == 0
    assert linux.parse(STATUS, ROLLUP).mapped_bytes is None


def test_a_kernel_without_shared_memory_in_its_status() -> None:
    assert linux.parse("RssFile:\t 5 kB\n", "").file_backed_bytes == 5 * KIB


def test_shards_are_one_model_and_a_link_is_its_target(tmp_path: Path) -> None:
    names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "n-00001-of-00002.gguf", "m.gguf"]
    for name in names:
        (tmp_path / name).touch()
    assert linux.files_of(tmp_path / names[0]) == {str((tmp_path / name).resolve()) for name in names[:2]}
    link = tmp_path / "link.gguf"
    link.symlink_to(tmp_path / "m.gguf")
    assert linux.files_of(link) == {str((tmp_path / "m.gguf").resolve())}


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="the system has no smaps")
def test_pages_that_were_touched_are_seen_in_the_real_map(tmp_path: Path) -> None:
    import mmap

    file = tmp_path / "model.gguf"
    file.write_bytes(bytes(64 * mmap.PAGESIZE))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert mapping[0] == 0
        touched = read_memory(file).mapped_bytes
        assert touched is not None
        # The kernel may map the pages around a touched one as well.
        assert mmap.PAGESIZE <= touched <= 64 * mmap.PAGESIZE
    assert read_memory(file).mapped_bytes == 0
