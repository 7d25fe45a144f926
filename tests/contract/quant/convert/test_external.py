"""Another converter in a folder that the user names: what it makes is taken, and its failure is one line."""

import sys
from pathlib import Path

import pytest

from tests.support.checkpoints import make_checkpoint
from tests.support.commandline import assert_one_line, slmprof

MAKES_A_FILE = """
import shutil, sys
assert sys.argv[2] == "--outfile" and sys.argv[4] == "--outtype"
shutil.copyfile({model!r}, sys.argv[3])
"""
FAILS = "raise NotImplementedError('Architecture FalconForCausalLM not supported!')"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512)


def converter(folder: Path, code: str) -> Path:
    folder.mkdir()
    (folder / "convert_hf_to_gguf.py").write_text(code)
    return folder


def test_what_it_makes_is_taken_and_quantized(checkpoint: Path, tmp_path: Path) -> None:
    from quant.convert.to_gguf import convert
    from quant.gguf_io.header import open_gguf_header

    convert(checkpoint, tmp_path / "model.gguf", outtype="f16")
    other = converter(tmp_path / "other", MAKES_A_FILE.format(model=str(tmp_path / "model.gguf")))
    named = ["--converter", other, "--converter-python", sys.executable]
    done = slmprof("convert", checkpoint, "-o", tmp_path / "mine.gguf", *named, cache=tmp_path / "cache")
    assert done.status == 0, done.err
    assert (tmp_path / "mine.gguf").read_bytes() == (tmp_path / "model.gguf").read_bytes()
    done = slmprof("convert", checkpoint, "-q", "Q8_0,Q4_K_M", "-o", tmp_path / "out", *named, cache=tmp_path / "cache")
    assert done.status == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").glob("*.gguf")) == [
        "checkpoint-1.3M-Q4_K_M.gguf",
        "checkpoint-1.3M-Q8_0.gguf",
    ]
    types = {tensor.type.name for tensor in open_gguf_header(tmp_path / "out" / "checkpoint-1.3M-Q8_0.gguf").tensors}
    assert types == {"q8_0", "f32"}


def test_its_failure_is_one_line_and_leaves_nothing(checkpoint: Path, tmp_path: Path) -> None:
    other = converter(tmp_path / "other", FAILS)
    named = ["--converter", other, "--converter-python", sys.executable]
    for extra in ([], ["-q", "Q8_0"]):
        done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", *extra, *named, cache=tmp_path / "cache")
        assert_one_line(done, "FalconForCausalLM not supported!", "--converter-python")
    assert {path.name for path in tmp_path.iterdir()} <= {"checkpoint", "other", "cache"}


def test_a_folder_without_one_and_an_interpreter_that_is_not_there(checkpoint: Path, tmp_path: Path) -> None:
    target = tmp_path / "x.gguf"
    done = slmprof("convert", checkpoint, "-o", target, "--converter", tmp_path, cache=tmp_path / "cache")
    assert_one_line(done, "has no convert_hf_to_gguf.py")
    other = converter(tmp_path / "other", FAILS)
    done = slmprof("convert", checkpoint, "-o", target, "--converter", other, "--converter-python", "nowhere/python",
                   cache=tmp_path / "cache")  # fmt: skip
    assert_one_line(done, "cannot start nowhere/python")


def test_an_unknown_architecture_offers_it(checkpoint: Path, tmp_path: Path) -> None:
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace("LlamaForCausalLM", "GrokForCausalLM"))
    done = slmprof("convert", checkpoint, "-o", tmp_path / "x.gguf", cache=tmp_path / "cache")
    assert_one_line(done, "GrokForCausalLM is not supported yet", "pip download", "--converter llama_cpp_python-")
