"""Checkpoints whose weights are stored quantized become the files of their dequantized weights."""

from pathlib import Path

import pytest
from gguf import GGUFReader

from quant.convert.checkpoint import open_checkpoint
from quant.convert.to_gguf import convert
from tests.support.checkpoints import make_checkpoint
from tests.support.stored_weights import store, write_tensors


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("plain") / "m", layers=1, dtype="float16")


@pytest.mark.parametrize("form", ["gptq-4", "nf4"])
def test_the_file_is_that_of_the_dequantized_weights(tmp_path: Path, plain: Path, form: str) -> None:
    folder = store(plain, tmp_path / "stored" / "m", form)
    found = open_checkpoint(folder)
    assert any(form.startswith("gptq") == ("gptq" in note) for note in found.notes)
    same = store(plain, tmp_path / "same" / "m", form)
    (same / "config.json").write_bytes((plain / "config.json").read_bytes())
    values = {
        name: (tensor.read_dtype, tensor.read(0, tensor.n_elements).reshape(tensor.shape))
        for name, tensor in found.tensors.items()
    }
    write_tensors(same / "model.safetensors", values)
    ours, expected = tmp_path / "ours.gguf", tmp_path / "expected.gguf"
    report = convert(folder, ours)
    convert(same, expected, outtype=report.outtype.lower())
    assert report.outtype == "F16"  # the embedding's
    assert [(each.name, each.data.tobytes()) for each in GGUFReader(ours).tensors] == [
        (each.name, each.data.tobytes()) for each in GGUFReader(expected).tensors
    ]
