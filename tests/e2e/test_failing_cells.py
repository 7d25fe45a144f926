"""One sweep with everything in it that can go wrong with a cell: each is a record with its cause, the others go on."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from profiler.results.file import read_results
from tests.support.commandline import ROOT, environment, slmprof
from tests.support.ggufs import tiny_gguf

ADDRESS_SPACE_BYTES = 2 << 30
TIMEOUT_S = 20


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    folder = tmp_path / "files"
    folder.mkdir()
    small = {"n_embd": 64, "n_ff": 64}
    return {
        "good": tiny_gguf(folder / "good.gguf", name="good", **small),
        "fine": tiny_gguf(folder / "fine.gguf", name="fine", seed=1, **small),
        # Four heads cannot share three pairs of keys and values: an assertion of ggml's fires in its graph.
        "aborts": tiny_gguf(folder / "aborts.gguf", name="aborts", n_head_kv=3, **small),
        # Hundreds of layers take long enough for its worker to be found and stopped.
        "hangs": tiny_gguf(folder / "hangs.gguf", name="hangs", n_layer=300, **small),
        # The logits of a batch take 512 times a million times 4 bytes.
        "hog": tiny_gguf(folder / "hog.gguf", name="hog", n_vocab=1_000_000, n_embd=32, n_ff=32),
        "vanishes": tiny_gguf(folder / "vanishes.gguf", name="vanishes", seed=2, **small),
    }


def stop_who_opens(file: Path, parent: int) -> None:
    """Stop the child that has mapped a file: it then hangs forever, however fast the machine is."""
    with contextlib.suppress(psutil.NoSuchProcess):
        while True:
            for child in psutil.Process(parent).children():
                with contextlib.suppress(OSError):
                    if str(file) in Path(f"/proc/{child.pid}/maps").read_text():
                        child.suspend()
                        return
            time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space, which other systems do not keep to")
def test_four_cells_that_fail_are_four_records_and_all_others_are_measured(
    files: dict[str, Path], cache: Path, tmp_path: Path
) -> None:
    import resource

    results = tmp_path / "results.jsonl"
    # --force: on a machine with less memory than the hog needs it would be skipped and not fail.
    command = [sys.executable, "-m", "profiler", "profile", *map(str, files.values()), "-t", "1", "-p", "512",
               "-n", "16", "-r", "1", "--rounds", "2", "--timeout", f"{TIMEOUT_S}s", "--force", "-o",
               str(results)]  # fmt: skip
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment(cache) | {"OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES)),
    )
    assert process.stderr is not None
    assert process.stdout is not None
    threading.Thread(target=stop_who_opens, args=(files["hangs"], process.pid), daemon=True).start()
    lines = []
    with process.stderr, process.stdout:
        for line in process.stderr:
            lines.append(line.rstrip())
            if "rounds to measure" in line:
                files["vanishes"].unlink()  # after it was prepared, and before any worker is up
        table = process.stdout.read()
    assert process.wait(timeout=60) == 1, lines
    found = read_results([results])
    names = {artifact.sha256: artifact.model for artifact in found.artifacts.values()}
    rounds = [(names[record.cell.artifact_sha256], record.round) for record in found.rounds if record.status == "ok"]
    assert sorted(rounds) == [("fine", 0), ("fine", 1), ("good", 0), ("good", 1)]
    errors = {names[record.cell.artifact_sha256]: record.error for record in found.rounds if record.error is not None}
    assert sorted(errors) == ["aborts", "hangs", "hog", "vanishes"]
    kinds = {name: (error.kind, error.signal) for name, error in errors.items()}
    assert kinds["aborts"] == ("abort", "SIGABRT")
    assert "GGML_ASSERT" in errors["aborts"].message
    assert kinds["hangs"] == ("timeout", None)
    assert f"no answer within {TIMEOUT_S} s" in errors["hangs"].message
    assert kinds["hog"] == ("context", None)
    assert "failed to allocate" in errors["hog"].message
    assert kinds["vanishes"] == ("load", None)
    assert "No such file" in errors["vanishes"].message
    assert str(tmp_path) not in results.read_text()
    # The table has the error of each.
    assert table.count("FAILED") == 4
    for name, error in errors.items():
        assert error.message[:40] in table, name
    # What failed is tried again by the same command, and nothing else is.
    files_left = [str(path) for name, path in files.items() if name in ("good", "fine", "aborts")]
    again = slmprof("profile", *files_left, "-t", "1", "-p", "512", "-n", "16", "-r", "1", "--rounds", "2", "-o",
                    results, cache=cache)  # fmt: skip
    assert again.status == 1
    assert "2 rounds to measure, 4 " in again.err
    cells = json.loads(slmprof("export", results, "--format", "json", cache=cache).out)
    assert sorted((cell["model"], cell["status"], cell["rounds"]) for cell in cells) == [
        ("aborts", "failed", 0),
        ("fine", "ok", 2),
        ("good", "ok", 2),
        ("hangs", "failed", 0),
        ("hog", "failed", 0),
        ("vanishes", "failed", 0),
    ]
