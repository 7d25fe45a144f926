"""Checkpoints whose weights are stored quantized become the files of their dequantized weights, or keep their types."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from gguf.quants import dequantize

from quant.base.errors import UserError
from quant.convert.checkpoint import open_checkpoint
from quant.convert.layout import open_layout
from quant.convert.to_gguf import convert
from quant.gguf_io.artifact import level_of
from quant.gguf_io.header import open_gguf_header
from quant.quantize.from_checkpoint import checkpoint_writer
from tests.families import gpt_oss
from tests.support.checkpoints import make_checkpoint, write_checkpoint
from tests.support.stored_weights import store, write_tensors


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("plain") / "m", layers=1, dtype="float16")


@pytest.mark.parametrize("form", ["gptq-4", "nf4"])
def test_the_file_is_that_of_the_dequantized_weights(tmp_path: Path, plain: Path, form: str) -> None:
    folder = store(plain, tmp_path / "stored" / "m", form)
    found = open_checkpoint(folder)
    (note,) = open_layout(folder, keep=True).checkpoint.notes
    assert form.startswith("gptq") == ("gptq" in note)
    assert "are dequantized" in note
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


def _values(path: Path) -> dict[str, np.ndarray]:
    """Return every matrix of a file in float32, multiplied by its factor."""
    found = {each.name: each for each in GGUFReader(path).tensors}
    values = {name: dequantize(each.data, each.tensor_type) for name, each in found.items() if len(each.shape) > 1}
    factors = {name.removesuffix(".scale"): each.data for name, each in found.items() if name.endswith(".scale")}
    return {name: value * factors.get(name.removesuffix(".weight"), 1) for name, value in values.items()}


def test_nvfp4_stays_with_its_factors_where_llama_cpp_multiplies_by_them(tmp_path: Path, plain: Path) -> None:
    folder = store(plain, tmp_path / "m", "nvfp4")
    layout = open_layout(folder, keep=True)
    assert layout.n_first == 7 * 3  # each matrix, its factor, and that of its inputs
    assert "7 of its matrices stay NVFP4" in layout.checkpoint.notes[-1]
    kept = tmp_path / "kept.gguf"
    assert convert(folder, kept).outtype == "F16"
    header = open_gguf_header(kept)
    assert level_of(header) == "NVFP4"
    types = {tensor.name: tensor.type.name for tensor in header.tensors}
    assert {types[name] for name in types if name.endswith("_scale")} == {"f32"}
    assert (types["blk.0.attn_q.weight"], types["token_embd.weight"]) == ("nvfp4", "f16")
    values, tensors = _values(kept), open_checkpoint(folder).tensors
    for target, name in (("attn_v", "self_attn.v_proj"), ("ffn_down", "mlp.down_proj")):
        source = tensors[f"model.layers.0.{name}.weight"]
        assert np.array_equal(values[f"blk.0.{target}.weight"].reshape(-1), source.read(0, source.n_elements))


def test_nvfp4_is_dequantized_where_llama_cpp_ignores_the_factors(tmp_path: Path) -> None:
    plain = make_checkpoint(tmp_path / "plain", architecture="Qwen2ForCausalLM", layers=1, style="qwen2")
    folder = store(plain, tmp_path / "m", "nvfp4")
    assert open_layout(folder, keep=True).n_first == 0


def test_experts_of_gpt_oss_stay_mxfp4_also_at_the_level_of_that_name(tmp_path: Path) -> None:
    plain = write_checkpoint(tmp_path / "plain", gpt_oss.config(layers=1))
    folder = store(plain, tmp_path / "m", "mxfp4-experts")
    kept, level = tmp_path / "kept.gguf", tmp_path / "m-MXFP4_MOE.gguf"
    convert(folder, kept, outtype="bf16", pre="gpt-2")
    with checkpoint_writer(folder, pre="gpt-2") as writer:
        writer.write(["MXFP4_MOE"], lambda _: level)
    assert level_of(open_gguf_header(kept)) == "MXFP4_MOE"
    one, other = ({each.name: each.data.tobytes() for each in GGUFReader(path).tensors} for path in (kept, level))
    experts = [name for name in one if name.endswith("_exps.weight")]
    assert experts == list(one)[:3]
    assert all(one[name] == other[name] for name in experts)
    source = open_checkpoint(folder).tensors["model.layers.0.mlp.experts.down_proj"]
    found = _values(kept)["blk.0.ffn_down_exps.weight"]
    assert np.array_equal(found.reshape(-1), source.read(0, source.n_elements))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("weight_global_scale", struct.pack("<f", 0), "scale of model.layers.0.self_attn.q_proj.weight"),
        ("weight_scale", b"\x7f" * 8, "model.layers.0.self_attn.q_proj.weight_scale .* holds NaN"),
    ],
    ids=["factor", "scale"],
)
def test_a_scale_that_is_no_number_is_refused_by_its_tensor(
    tmp_path: Path, plain: Path, name: str, value: bytes, words: str
) -> None:
    folder = store(plain, tmp_path / "m", "nvfp4")
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    (length,) = struct.unpack_from("<Q", data)
    start = 8 + length + json.loads(data[8 : 8 + length])[f"model.layers.0.self_attn.q_proj.{name}"]["data_offsets"][0]
    data[start : start + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(UserError, match=words):
        convert(folder, tmp_path / "kept.gguf")
