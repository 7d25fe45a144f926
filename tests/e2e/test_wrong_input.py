"""What a user can get wrong: one line that says what, which one and what to do; status 2; nothing half-written."""

import json
import shutil
import struct
from pathlib import Path

import pytest

from tests.support.commandline import assert_one_line, slmprof


@pytest.fixture
def checkpoint(tiny: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny, tmp_path / "checkpoint"))


def files_of(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".lock"))


def test_a_misspelt_name_gets_a_suggestion(cache: Path, tmp_path: Path) -> None:
    done = slmprof("run", "smolm2-135m", "-o", tmp_path / "out", cache=cache)
    assert_one_line(done, "'smolm2-135m'", "did you mean 'smollm2-135m'?")
    assert "models" not in files_of(tmp_path)


def test_a_directory_without_a_config(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = slmprof("convert", tmp_path / "empty", "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(done, "no config.json")
    assert files_of(tmp_path) == []


def test_truncated_safetensors(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    done = slmprof("convert", checkpoint, "-o", tmp_path / "out" / "x.gguf", cache=cache)
    assert_one_line(done, "model.safetensors is truncated", "download it again")
    assert not (tmp_path / "out").exists() or files_of(tmp_path / "out") == []


def test_a_header_longer_than_the_file(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(struct.pack("<Q", 1 << 40) + b"{}")
    done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(done, "longer than the file")
    assert not (tmp_path / "x.gguf").exists()


def test_an_unknown_level_is_found_before_anything_is_made(tiny: Path, cache: Path, tmp_path: Path) -> None:
    done = slmprof("run", tiny, "-q", "Q4_K_N", "-o", tmp_path / "out", cache=cache)
    assert_one_line(done, "Q4_K_N", "Q4_K_M")
    assert not (tmp_path / "out").exists()


def test_a_level_that_needs_an_imatrix_says_so(tiny: Path, cache: Path, tmp_path: Path) -> None:
    done = slmprof("run", tiny, "-q", "IQ2_XXS", "-t", "1", "-o", tmp_path / "out", cache=cache)
    assert done.status == 2
    assert "IQ2_XXS" in done.err.splitlines()[-1]
    assert "imatrix" in done.err.splitlines()[-1]


def test_an_output_that_cannot_be_written(tiny: Path, cache: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert_one_line(slmprof("run", tiny, "-o", blocked / "out", cache=cache), "cannot write")
    assert_one_line(slmprof("convert", tiny, "-o", blocked / "x.gguf", cache=cache), "cannot write")


def test_a_gguf_file_cut_in_half(tiny: Path, cache: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    assert slmprof("convert", tiny, "-o", whole, cache=cache).status == 0
    half = tmp_path / "half.gguf"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    results = tmp_path / "results.jsonl"
    assert_one_line(slmprof("profile", half, "-t", "1", "-o", results, cache=cache), "half.gguf")
    assert not results.exists() or results.read_text() == ""
    assert_one_line(slmprof("quantize", half, "-q", "Q8_0", "-o", tmp_path / "out", cache=cache), "half.gguf")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-t", "0"], ["-t", "from 1 to 512, not 0"]),
        (["-t", "1,x"], ["'x'", "-t"]),
        (["--workload", "chatt"], ["chatt", "bench, survey, chat"]),
        (["--workload", "chat", "-p", "5"], ["--workload"]),
        (["--n-ctx", "10"], ["--n-ctx 10"]),
        (["--timeout", "soon"], ["'soon'"]),
        (["--ctk", "q9"], ["q9"]),
        (["--device", "gpu"], ["GPU"]),
        (["--nonsense"], ["--nonsense", "--help"]),
    ],
)
def test_wrong_options(tiny: Path, cache: Path, tmp_path: Path, options: list[str], words: list[str]) -> None:
    assert_one_line(slmprof("profile", tiny, *options, "-o", tmp_path / "r.jsonl", cache=cache), *words)


def test_an_architecture_that_is_not_there_yet(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    config["architectures"] = ["GrokForCausalLM"]
    (checkpoint / "config.json").write_text(json.dumps(config))
    done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(done, "GrokForCausalLM", "--converter")


def test_a_pickle_that_does_something(checkpoint: Path, cache: Path, tmp_path: Path) -> None:
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(done, "pytorch_model.bin is no file of torch.save")
    sprung = tmp_path / "sprung"
    (checkpoint / "pytorch_model.bin").write_bytes(
        f"\x80\x02cos\nmkdir\nX{chr(len(str(sprung)))}\0\0\0{sprung}\x85R.".encode("latin-1")
    )
    done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(done, "names os.mkdir, which no weights need", "safetensors")
    assert not sprung.exists()


def test_results_that_are_none(cache: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text('{"a": 1}\n{"b": 2}\n')
    assert_one_line(slmprof("show", other, cache=cache), "line 1", "other.jsonl")
    assert_one_line(slmprof("show", tmp_path / "none.jsonl", cache=cache), "cannot read")
    assert_one_line(slmprof("profile", "smollm2-135m", "--weights", "synthetic", "-o", other, cache=cache), "line 1")


def test_a_table_takes_no_label(cache: Path, tmp_path: Path) -> None:
    done = slmprof("export", tmp_path / "r.jsonl", "--format", "md", "--label", "mine", cache=cache)
    assert_one_line(done, "--label", "another --format")


def test_a_decode_that_no_bandwidth_was_measured_for(cache: Path) -> None:
    done = slmprof("estimate", "smollm2-135m", "-q", "Q4_0", "--min-decode", "8", cache=cache)
    assert_one_line(done, "--min-decode", "slmprof doctor --bandwidth")
