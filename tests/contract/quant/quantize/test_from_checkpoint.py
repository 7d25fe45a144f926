"""From a checkpoint to levels: the files are what llama.cpp makes of the lossless conversion."""

import json
from pathlib import Path

import pytest
from gguf import GGUFReader

from quant.base.errors import UserError
from quant.convert.provenance import Origin
from quant.convert.to_gguf import convert
from quant.gguf_io.header import open_gguf_header
from quant.quantize.from_checkpoint import checkpoint_writer
from quant.quantize.levels_of_gguf import choose_levels, quantize
from tests.support.checkpoints import decoder_config, make_checkpoint, write_checkpoint
from tests.support.ggufs import tiny_imatrix
from tests.support.quantize_directly import quantize_directly

ORIGIN = Origin(model="tiny")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def from_checkpoint(checkpoint: Path, folder: Path, levels: str, **options: object) -> dict[str, Path]:
    with checkpoint_writer(checkpoint, origin=ORIGIN) as writer:
        chosen = writer.levels(levels, imatrix=options.get("imatrix"))
        written = writer.write(chosen, lambda level: folder / f"tiny-{level}.gguf", **options)
    return {each.level: each.path for each in written}


def contents(path: Path) -> tuple[dict[str, object], dict[str, tuple[str, tuple[int, ...], bytes]]]:
    """All keys (of long lists the lengths) and all tensors; gguf's own reader does not know every type."""
    header = open_gguf_header(path)
    data = path.read_bytes()
    tensors = {
        each.name: (each.type.name, each.dims, data[each.offset : each.offset + each.nbytes]) for each in header.tensors
    }
    return header.metadata, tensors


def vocabulary(path: Path) -> dict[str, object]:
    fields = GGUFReader(path).fields
    return {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}


# Rows of 256 suit every level; rows of 224 (7 heads of 32) fit K-quants nowhere, and some of 32 only.
SHAPES = {
    "256-bf16": {"hidden": 256, "ffn": 256, "layers": 2, "vocab": 512},
    "224-bf16-sharded": {"hidden": 224, "ffn": 352, "heads": 7, "kv_heads": 1, "layers": 2, "shards": 2, "tie": False},
    "qwen2-f16": {"architecture": "Qwen2ForCausalLM", "hidden": 256, "ffn": 768, "dtype": "float16"},
    "256-f32-rope": {
        "hidden": 256, "ffn": 256, "dtype": "float32",
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                         "original_max_position_embeddings": 64},
    },
}  # fmt: skip


FEW = "F16,Q8_0,Q4_K_M,IQ4_XS"


@pytest.mark.parametrize(
    ("shape", "levels"), [("256-bf16", "all"), ("224-bf16-sharded", "all"), ("qwen2-f16", FEW), ("256-f32-rope", FEW)]
)
def test_every_level_equals_the_lossless_file_quantized(shape: str, levels: str, tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", **SHAPES[shape])
    lossless = {"float16": "f16", "float32": "f32"}.get(str(SHAPES[shape].get("dtype")), "bf16")
    convert(checkpoint, tmp_path / "tiny-lossless.gguf", outtype=lossless, origin=ORIGIN)
    found = from_checkpoint(checkpoint, tmp_path / "ours", levels)
    if levels == "all":
        assert list(found) == choose_levels(tmp_path / "tiny-lossless.gguf", "all")
        assert len(found) >= 24
    assert vocabulary(found["Q8_0"]) == vocabulary(tmp_path / "tiny-lossless.gguf")
    for level, path in found.items():
        theirs = tmp_path / ("direct.gguf" if level.lower() != lossless else "tiny-lossless.gguf")
        if level.lower() != lossless:
            quantize_directly(tmp_path / "tiny-lossless.gguf", theirs, level)
        keys, tensors = contents(path)
        their_keys, their_tensors = contents(theirs)
        assert tensors == their_tensors, level
        assert keys == their_keys, level


def test_an_importance_matrix_gives_the_same_bytes_and_keys(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512)
    convert(checkpoint, tmp_path / "tiny-lossless.gguf", outtype="bf16", origin=ORIGIN)
    sizes = {
        tensor.name: int(tensor.shape[0])
        for tensor in GGUFReader(tmp_path / "tiny-lossless.gguf").tensors
        if len(tensor.shape) == 2 and tensor.name != "token_embd.weight"
    }
    imatrix = tiny_imatrix(tmp_path / "words.gguf", sizes)
    found = from_checkpoint(checkpoint, tmp_path / "ours", "IQ2_XXS,Q2_K_S,Q4_K_M", imatrix=imatrix)
    expected = quantize(tmp_path / "tiny-lossless.gguf", list(found), tmp_path / "theirs", imatrix=imatrix)
    for made in expected:
        assert contents(found[made.level]) == contents(made.path)


def test_experts_are_quantized_each_by_its_own_importance(tmp_path: Path) -> None:
    experts = {"num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 256, "norm_topk_prob": True}
    config = decoder_config("Qwen3MoeForCausalLM", "qwen3_moe", hidden=256, ffn=512, layers=1, head_dim=64) | experts
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    convert(checkpoint, tmp_path / "tiny-lossless.gguf", outtype="bf16", origin=ORIGIN)
    sizes = {
        tensor.name: int(tensor.shape[0])
        for tensor in GGUFReader(tmp_path / "tiny-lossless.gguf").tensors
        if len(tensor.shape) > 1 and tensor.name not in ("token_embd.weight", "blk.0.ffn_gate_inp.weight")
    }
    imatrix = tiny_imatrix(tmp_path / "words.gguf", sizes, n_experts=3)
    found = from_checkpoint(checkpoint, tmp_path / "ours", "IQ2_XXS,Q4_K_M", imatrix=imatrix)
    expected = quantize(tmp_path / "tiny-lossless.gguf", list(found), tmp_path / "theirs", imatrix=imatrix)
    for made in expected:
        assert contents(found[made.level]) == contents(made.path)


def test_a_level_that_needs_an_importance_matrix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512)
    with pytest.raises(UserError, match=r"IQ2_XXS of .* cannot be made without an importance matrix; give --imatrix"):
        from_checkpoint(checkpoint, tmp_path / "ours", "Q8_0,IQ2_XXS")
    assert not (tmp_path / "ours").exists()


def test_infinite_weights_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512, dtype="float32")
    weights = checkpoint / "model.safetensors"
    data = bytearray(weights.read_bytes())
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    start = 8 + int.from_bytes(data[:8], "little") + header["model.layers.0.mlp.up_proj.weight"]["data_offsets"][0]
    data[start : start + 4] = b"\x00\x00\x80\x7f"
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"tensor model\.layers\.0\.mlp\.up_proj\.weight in .* holds an infinite value"):
        from_checkpoint(checkpoint, tmp_path / "ours", "Q8_0,F16")
    assert list((tmp_path / "ours").iterdir()) == []


def test_a_vocabulary_that_is_wrong_is_found_while_the_weights_are_on_their_way_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512)
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(UserError, match=r"has neither tokenizer\.json nor tokenizer\.model"):
        from_checkpoint(checkpoint, tmp_path / "ours", "Q8_0,F16")
    assert list((tmp_path / "ours").iterdir()) == []


def test_one_thread_or_many_give_the_same_bytes(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "checkpoint", hidden=256, ffn=512)
    one = from_checkpoint(checkpoint, tmp_path / "one", "Q4_K_M", n_threads=1)["Q4_K_M"]
    five = from_checkpoint(checkpoint, tmp_path / "five", "Q4_K_M", n_threads=5)["Q4_K_M"]
    assert one.read_bytes() == five.read_bytes()
