"""Where the work buffer really starts: an operator new[] of our own logs what ggml gets in the real worker."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from profiler.engine.memory_layout import UNCONTROLLED, offset_of
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from tests.support.cells import config
from tests.support.ggufs import tiny_gguf

COMPILER = shutil.which("c++") or shutil.which("g++")
pytestmark = pytest.mark.skipif(
    COMPILER is None or platform.libc_ver()[0] != "glibc", reason="the layout is controlled with glibc only"
)
LOGGER = """
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
void *operator new[](std::size_t n) {
    void *address = std::malloc(n);
    if (!address) throw std::bad_alloc();
    if (n >= 96 * 1024)
        if (FILE *log = std::fopen(std::getenv("NEW_LOG"), "a")) {
            std::fprintf(log, "%zu %u\\n", n, (unsigned)((std::uintptr_t)address % 64));
            std::fclose(log);
        }
    return address;
}
void operator delete[](void *address) noexcept { std::free(address); }
void operator delete[](void *address, std::size_t) noexcept { std::free(address); }
"""


@pytest.fixture(scope="module")
def logger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("logger")
    (folder / "logger.cpp").write_text(LOGGER)
    command = [str(COMPILER), "-shared", "-fPIC", "-O1", "logger.cpp", "-o", "logger.so"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "logger.so"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [
        tiny_gguf(folder / "small.gguf", n_embd=256, n_ff=512),
        # More than 128 tensors: llama.cpp makes room for more nodes.
        tiny_gguf(folder / "deep.gguf", n_embd=256, n_ff=256, n_layer=20, seed=1),
    ]


@pytest.mark.parametrize("changes", [
    {"n_prompt": 50, "n_gen": 4, "n_threads": 1, "n_threads_batch": 1},
    {"n_prompt": 512, "n_gen": 2, "n_threads": 2, "n_threads_batch": 2},
    {"n_prompt": 0, "n_gen": 4, "n_threads": 1, "n_threads_batch": 1},
    {"n_prompt": 1024, "n_gen": 1, "n_threads": 1, "n_threads_batch": 1},
    {"n_prompt": 64, "n_gen": 2, "n_depth": 100, "n_threads": 1, "n_threads_batch": 1},
])  # fmt: skip
def test_the_work_buffer_starts_where_it_was_placed(
    changes: dict[str, int], logger: Path, models: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LD_PRELOAD", str(logger))
    for model in models if changes["n_prompt"] == 50 else models[:1]:
        for number in range(4):
            log = tmp_path / f"{model.stem}-{number}"
            monkeypatch.setenv("NEW_LOG", str(log))
            # Other allocations of the process must not matter.
            monkeypatch.setenv("UNRELATED", "x" * 700 * number)
            offset = offset_of(number)
            job = Job(
                path=str(model), config=config(n_ctx=2048, **changes), reps=1, seed=1, work_buffer_offset_bytes=offset
            )
            answer = run_worker(job, timeout_s=120)
            assert answer.measured is not None, answer.failure
            assert answer.measured.in_force.layout == str(offset)
            found = [tuple(map(int, line.split())) for line in log.read_text().splitlines()]
            assert found[-1][1] == offset, found


def test_what_cannot_be_controlled_is_recorded_as_such(models: list[Path], tmp_path: Path) -> None:
    narrow = tiny_gguf(tmp_path / "narrow.gguf", n_embd=64, n_ff=64)
    # The depth's graph is smaller than the prompt's, whose buffer is taken later.
    cell = config(n_ctx=2048, n_prompt=512, n_gen=1, n_depth=32)
    short, long = config(n_ctx=2048, n_prompt=64), config(n_ctx=2048, n_prompt=1500)
    for model, offset, settings in (
        (models[0], 16, cell),
        (models[0], None, short),
        (narrow, 16, short),
        (models[0], 16, long),
    ):
        answer = run_worker(
            Job(path=str(model), config=settings, reps=1, seed=1, work_buffer_offset_bytes=offset), timeout_s=120
        )
        assert answer.measured is not None
        assert answer.measured.in_force.layout == UNCONTROLLED
