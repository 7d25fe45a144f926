"""What the installed llama.cpp is: its system info, what is kept on disk, and what is said of a broken library."""

import signal
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from profiler.device import llama_build as backend
from profiler.device.llama_build import BackendFacts, has_assertions, parse_system_info, probe_backend
from profiler.records.environment import Device
from quant.base.child import Ending
from quant.base.errors import UserError

FACTS = BackendFacts(
    binding_version="0.3.36",
    llama_commit="c0ffee0",
    threading="openmp",
    backends=("CPU",),
    devices=(Device(name="CPU", description="Test CPU", kind="cpu", memory_bytes=8 << 30),),
    cpu_features=("AVX2",),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


NORMAL = Ending(0, "")


class Probe:
    """Stands for the process that loads llama.cpp, and for the tiny model that is tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stdout: bytes, ending: Ending = NORMAL) -> None:
        self.stdout, self.ending, self.calls = stdout, ending, 0
        monkeypatch.setattr(backend, "run_child", self.run)
        monkeypatch.setattr(backend, "build_stamp", lambda: self.stamp)
        self.stamp = "first"

    def run(self, module: str, job: backend.Probe, *, timeout_s: float) -> tuple[bytes, Ending]:
        assert module == "profiler.device.llama_build"
        assert timeout_s > 0
        self.calls += 1
        return self.stdout, self.ending


# --- the system info line


def test_features_that_are_on_and_the_threading_library() -> None:
    text = "CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | LLAMAFILE = 1 | OPENMP = 1 | REPACK = 1 | "
    assert parse_system_info(text) == (("SSE3", "AVX2", "LLAMAFILE", "REPACK"), "openmp")


def test_a_build_without_openmp_has_threads_of_its_own() -> None:
    text = "CPU : NEON = 1 | ARM_FMA = 1 | DOTPROD = 1 | SVE_CNT = 16 | ACCELERATE = 1 | "
    assert parse_system_info(text) == (("NEON", "ARM_FMA", "DOTPROD", "ACCELERATE"), "ggml")


def test_other_backends_have_features_that_are_not_the_cpus() -> None:
    text = (
        "MTL : EMBED_LIBRARY = 1 | CPU : NEON = 1 | REPACK = 1 | "
        "CUDA : ARCHS = 870 | USE_GRAPHS = 1 | PEER_MAX_BATCH_SIZE = 128 | "
    )
    assert parse_system_info(text) == (("NEON", "REPACK"), "ggml")


def test_nothing_said_is_no_feature() -> None:
    assert parse_system_info("") == ((), "ggml")


# --- kept facts


def test_facts_are_asked_once_per_build(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = Probe(monkeypatch, msgspec.json.encode(FACTS))
    assert probe_backend() == FACTS
    assert probe_backend() == FACTS
    assert probe.calls == 1
    probe.stamp = "second"
    assert probe_backend() == FACTS
    assert probe.calls == 2


@pytest.mark.parametrize("kept", [b"", b"{}", b"not json", b'{"binding_version": "1"}'])
def test_kept_facts_that_are_damaged_or_incomplete_are_asked_again(
    monkeypatch: pytest.MonkeyPatch, cache: Path, kept: bytes
) -> None:
    probe = Probe(monkeypatch, msgspec.json.encode(FACTS))
    (cache / "backend").mkdir(parents=True)
    (cache / "backend" / "first.json").write_bytes(kept)
    assert probe_backend() == FACTS
    assert probe.calls == 1


def test_another_build_or_machine_is_another_stamp(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "llama_cpp" / "lib" / "libggml-cpu.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"one")
    spec = SimpleNamespace(origin=str(tmp_path / "llama_cpp" / "__init__.py"))
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: spec)
    monkeypatch.setattr(backend, "machine_stamp", lambda: "pi4")
    first = backend.build_stamp()
    assert backend.build_stamp() == first
    library.write_bytes(b"another")
    second = backend.build_stamp()
    monkeypatch.setattr(backend, "machine_stamp", lambda: "pi5")
    assert len({first, second, backend.build_stamp()}) == 3


# --- broken libraries


def refusal() -> str:
    with pytest.raises(UserError) as error:
        probe_backend()
    said = str(error.value)
    assert "\n" not in said
    return said


def test_a_broken_library_is_one_line(monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    trace = "Traceback (most recent call last):\n  File ...\nOSError: libgomp.so.1: cannot open shared object file\n"
    Probe(monkeypatch, b"", Ending(1, trace))
    assert refusal() == (
        "llama.cpp cannot be loaded (OSError: libgomp.so.1: cannot open shared object file); reinstall llama-cpp-python"
    )
    assert not (cache / "backend").exists()


def test_a_library_that_kills_its_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Probe(monkeypatch, b"", Ending(-signal.SIGSEGV, ""))
    assert refusal() == "llama.cpp cannot be loaded (SIGSEGV); reinstall llama-cpp-python"


def test_a_library_that_never_answers_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    Probe(monkeypatch, b"", Ending(-signal.SIGKILL, "", timed_out=True))
    assert "within 120 s; reinstall llama-cpp-python" in refusal()


def test_a_library_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(backend.importlib.metadata, "version", missing)
    assert refusal() == "llama-cpp-python is not installed here; install slmprof again"


# --- debug builds


@pytest.mark.parametrize(
    ("name", "code", "found"),
    [
        ("libggml-cpu.so", b"\x7fELF...\0__assert_fail\0memcpy\0", True),
        ("libggml-cpu.dylib", b"\xcf\xfa\xed\xfe...\0___assert_rtn\0", True),
        ("libggml-cpu.so", b"\x7fELF...\0memcpy\0_ZSt21__glibcxx_assert_failPKciS0_S0_\0", False),
        ("libggml-base.so", b"__assert_fail", None),
    ],
)
def test_a_debug_build_names_the_handler_of_failed_assertions(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, code: bytes, found: bool | None
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / name).write_bytes(code)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(backend.importlib.util, "find_spec", lambda _: spec)
    assert has_assertions() is found
