"""Files with synthetic weights: what llama.cpp makes of them, and what converted ones have in common with them."""

import ctypes
import hashlib
import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from quant.base.child import Child
from quant.base.errors import UserError
from quant.base.llama_package import ggml_base
from quant.base.progress import watch
from quant.convert.layout import layout_of_shape
from quant.convert.provenance import Origin
from quant.gguf_io.artifact import describe
from quant.gguf_io.header import open_gguf_header
from quant.quantize.from_checkpoint import checkpoint_writer
from quant.quantize.level_messages import LevelFile, OpenShape, WriteLevels
from quant.sources.prepare import PrepareOptions, prepare
from quant.synthetic.checkpoint import synthesize
from quant.synthetic.gguf import shape_writer, synthesize_levels
from quant.synthetic.gguf_worker import base_values, make_base, write_files
from tests.families import variants
from tests.support.commandline import assert_one_line, slmprof
from tests.support.ggufs import tiny_imatrix
from tests.support.llamacpp import Question, ask

SHAPE: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": True,
}  # fmt: skip
WITHOUT_IMATRIX = 24  # levels, of this shape


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file for each level that needs no importance matrix."""
    folder = tmp_path_factory.mktemp("tiled")
    paths = synthesize_levels(SHAPE, "all", folder, standin_for="tiny")
    return {path.stem.rpartition("-")[2]: path for path in paths}


def tensors_of(path: Path) -> dict[str, tuple[str, bytes]]:
    data = path.read_bytes()
    return {
        each.name: (each.type.name, data[each.offset : each.offset + each.nbytes])
        for each in open_gguf_header(path).tensors
    }


def facts_of(path: Path) -> tuple[dict[str, object], dict[str, tuple[str, tuple[int, ...]]], int]:
    """All keys (of long lists the lengths), each tensor's type and shape, the file's size."""
    header = open_gguf_header(path)
    return header.metadata, {each.name: (each.type.name, each.dims) for each in header.tensors}, path.stat().st_size


def test_all_but_the_values_is_as_in_a_checkpoint_that_is_converted(everything, tmp_path):
    checkpoint = synthesize(SHAPE, tmp_path / "checkpoint", standin_for="tiny")
    with checkpoint_writer(checkpoint, origin=Origin(model="tiny")) as writer:
        converted = writer.write(writer.levels("all"), lambda level: tmp_path / f"{level}.gguf")
    assert [each.level for each in converted] == list(everything)
    for each in converted:
        assert facts_of(everything[each.level]) == facts_of(each.path), each.level


def test_llama_cpp_loads_and_decodes_every_level(everything):
    assert len(everything) == WITHOUT_IMATRIX
    for level, answer in zip(everything, ask([Question(path=str(path)) for path in everything.values()]), strict=True):
        assert (answer.loads, answer.decodes, answer.n_vocab) == (True, True, 512), level


def test_every_block_is_valid(everything):
    library = ggml_base()
    library.ggml_validate_row_data.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t]
    library.ggml_validate_row_data.restype = ctypes.c_bool
    for path in everything.values():
        data = path.read_bytes()
        for each in open_gguf_header(path).tensors:
            rows = data[each.offset : each.offset + each.nbytes]
            assert library.ggml_validate_row_data(each.type.number, rows, len(rows)), (path.name, each.name)


def test_no_two_tensors_are_alike_but_the_norms_which_are_one(everything):
    for level in ("Q4_K_M", "F16", "Q4_0"):
        tensors = tensors_of(everything[level])
        norms = {data for name, (_, data) in tensors.items() if "norm" in name}
        assert norms == {np.ones(256, np.float32).tobytes()}
        starts = [data[:512] for name, (_, data) in tensors.items() if "norm" not in name]
        assert len(starts) == 1 + 2 * 10  # the embedding; seven matrices and three biases in each layer
        assert len(set(starts)) == len(starts)


def test_they_are_marked_inside_and_by_name(everything):
    artifact = describe(everything["Q4_K_M"])
    assert artifact.file_name == "tiny-1.3M-synthetic-Q4_K_M.gguf"
    assert (artifact.level, artifact.weights, artifact.standin_for) == ("Q4_K_M", "synthetic", "tiny")


def test_the_seed_decides_the_weights_and_nothing_else(everything, tmp_path):
    (same,) = synthesize_levels(SHAPE, "Q4_K_M", tmp_path / "same.gguf", standin_for="tiny")
    (other,) = synthesize_levels(SHAPE, "Q4_K_M", tmp_path / "other.gguf", standin_for="tiny", seed=1)
    assert same.read_bytes() == everything["Q4_K_M"].read_bytes()
    assert facts_of(other) == facts_of(same)
    assert tensors_of(other)["token_embd.weight"] != tensors_of(same)["token_embd.weight"]


@pytest.mark.parametrize("kind", ["f16", "bf16", "q8_0", "q4_0", "q2_K", "q4_K", "q6_K", "iq4_xs"])
def test_the_values_have_the_usual_deviation(kind):
    base = make_base(base_values(0)[: 256 * 64], kind, with_importance=False)
    values = gguf.quants.dequantize(base, gguf.GGMLQuantizationType[kind.upper()]).reshape(-1)
    assert np.isfinite(values).all()
    assert float(values.std()) == pytest.approx(0.02, rel=0.12)


def test_an_importance_matrix_opens_the_other_levels(tmp_path):
    sizes = {
        f"blk.{layer}.{name}.weight": 512 if name == "ffn_down" else 256
        for layer in range(2)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    }
    imatrix = tiny_imatrix(tmp_path / "words.gguf", sizes)
    (made,) = synthesize_levels(SHAPE, "IQ3_XXS", tmp_path / "made.gguf", standin_for="tiny", imatrix=imatrix)
    assert "iq3_xxs" in {kind for kind, _ in tensors_of(made).values()}
    (answer,) = ask([Question(path=str(made))])
    assert answer.decodes
    with pytest.raises(
        UserError, match=r"^IQ3_XXS of tiny cannot be made without an importance matrix; give --imatrix"
    ):
        synthesize_levels(SHAPE, "Q8_0,IQ3_XXS", tmp_path / "none", standin_for="tiny")
    assert not (tmp_path / "none").exists()


# --- families


def test_every_family_s_file_loads_and_decodes(tmp_path):
    """One process writes and one asks; a shape's own vocabulary may be smaller than a synthetic one can be."""
    paths: dict[str, Path] = {}
    architectures = set()
    for name, variant in variants().items():
        config = {**variant.config, "vocab_size": 512}
        layout = layout_of_shape(config, standin_for=name)
        if layout.family.architectures in architectures:
            continue
        architectures.add(layout.family.architectures)
        keys: Future[Any] = Future()
        keys.set_result(layout.keys)
        paths[name] = tmp_path / f"{name}.gguf"
        file = LevelFile(level="F16", path=str(paths[name]), types=layout.types_at("F16"))
        opening = OpenShape(config=config, standin_for=name, header="")
        write_files(layout, keys, WriteLevels(files=(file,), n_threads=1), opening, lambda event: None)
    assert len(architectures) >= 20
    for name, answer in zip(paths, ask([Question(path=str(path)) for path in paths.values()]), strict=True):
        assert (answer.loads, answer.decodes) == (True, True), (name, answer.log)


# --- ways to end


def test_ctrl_c_leaves_nothing(tmp_path):
    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watch(progress=stop):
        synthesize_levels(SHAPE, "Q8_0,F16", tmp_path / "out", standin_for="tiny")
    assert list((tmp_path / "out").iterdir()) == []


def test_the_process_is_gone_before_its_files_are_removed(tmp_path, monkeypatch):
    """Else it would begin the next file after that file was removed."""
    there_at_its_end: list[int] = []
    close = Child.close

    def noted(self: Child) -> None:
        close(self)
        if (tmp_path / "out").is_dir():  # not yet when the planner is closed
            there_at_its_end.append(len(list((tmp_path / "out").iterdir())))

    def stop(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Child, "close", noted)
    with pytest.raises(KeyboardInterrupt), watch(progress=stop):
        synthesize_levels(SHAPE, "Q8_0,F16", tmp_path / "out", standin_for="tiny")
    assert there_at_its_end[0] == 2
    assert list((tmp_path / "out").iterdir()) == []


def test_the_process_has_ended_before_its_stdin_is_closed(tmp_path, monkeypatch):
    """Else it would take that for the end of its parent, and remove what it has made."""
    status: list[int | None] = []
    close = Child.close

    def noted(self: Child) -> None:
        status.append(self._process.poll())
        close(self)

    monkeypatch.setattr(Child, "close", noted)
    (made,) = synthesize_levels(SHAPE, "Q8_0", tmp_path / "out", standin_for="tiny")
    assert made.is_file()
    assert status
    assert set(status) == {0}


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(tmp_path, monkeypatch):
    class Usage:
        free = 1 << 20

    monkeypatch.setattr("quant.base.files.shutil.disk_usage", lambda path: Usage)
    with pytest.raises(UserError, match=r"quantizing to F16 needs .* in .*out, only 1\.0 MiB are free"):
        synthesize_levels(SHAPE, "F16", tmp_path / "out", standin_for="tiny")
    assert not (tmp_path / "out").exists()


def test_a_wrong_config_is_refused_in_a_line(tmp_path):
    with pytest.raises(UserError, match="hidden_size = None, which must be a positive number"):
        synthesize_levels({**SHAPE, "hidden_size": None}, "F16", tmp_path / "out", standin_for="tiny")


def test_the_hash_that_is_computed_on_the_way_is_the_file_s(tmp_path, monkeypatch):
    with shape_writer(SHAPE, standin_for="tiny", hashed=True) as writer:
        (made,) = writer.write(["Q8_0"], lambda level: tmp_path / "made.gguf", n_threads=2)
    expected = hashlib.sha256(made.path.read_bytes()).hexdigest()
    monkeypatch.setattr("quant.base.hashes.sha256_of", lambda *_: pytest.fail("hashed again"))
    assert describe(made.path).sha256 == expected


def test_files_that_are_kept_are_not_made_again(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(SHAPE))
    said: list[str] = []
    prepare_options = PrepareOptions(levels="Q8_0", models_dir=tmp_path / "models", synthetic=True)
    with watch(say=said.append):
        first = prepare([str(tmp_path / "tiny")], prepare_options)
        again = prepare([str(tmp_path / "tiny" / "config.json")], prepare_options)
    assert said == ["making Q8_0 with synthetic weights in the shape of tiny"]
    assert again == first


def test_the_command_prints_the_files_that_it_made(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(SHAPE))
    source, cache = tmp_path / "tiny" / "config.json", tmp_path / "cache"
    done = slmprof("synthesize", source, "-q", "Q8_0,F16", "-o", tmp_path / "out", cache=cache)
    files = ["tiny-1.3M-synthetic-F16.gguf", "tiny-1.3M-synthetic-Q8_0.gguf"]
    assert (done.status, done.err) == (0, "")
    assert sorted(done.out.splitlines()) == [str(tmp_path / "out" / name) for name in files]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    refused = slmprof("synthesize", source, "-q", "IQ1_S", "-o", tmp_path / "x.gguf", cache=cache)
    assert_one_line(refused, "IQ1_S of tiny cannot be made without an importance matrix; give --imatrix FILE")
