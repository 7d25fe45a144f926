"""Checkpoints of a given shape with random weights: real files to other libraries, and marked as made up everywhere."""

import json
import shutil
import stat
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors
from tokenizers import Tokenizer

from quant.base import files
from quant.base.errors import UserError
from quant.base.progress import watch
from quant.convert.checkpoint import open_checkpoint
from quant.convert.to_gguf import convert
from quant.gguf_io.artifact import describe
from quant.synthetic import checkpoint as module
from quant.synthetic.checkpoint import synthesize
from tests.support.llamacpp import Question, ask

MIB = 1 << 20
SHAPE: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
QWEN2 = {**SHAPE, "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2"}
FILES = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


def _made(folder: Path, shape: dict[str, Any] = SHAPE, **options: Any) -> Path:
    return synthesize(shape, folder, **{"standin_for": "tiny-1m", **options})


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _weights(folder: Path) -> dict[str, np.ndarray]:
    """Return every tensor as float32, read with the safetensors library."""
    found = {}
    for name, tensor in safetensors.deserialize((folder / "model.safetensors").read_bytes()):
        assert tensor["dtype"] == "BF16"
        raw = np.frombuffer(bytes(tensor["data"]), np.uint8)
        values = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType.BF16)
        found[name] = values.reshape(tensor["shape"])
    return found


def _refusal(call: Any) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert said.isprintable()
    return said


# --- files


def test_the_checkpoint_has_the_files_of_a_real_one(tmp_path):
    assert _made(tmp_path / "c") == tmp_path / "c"
    assert _names(tmp_path / "c") == FILES
    assert _names(tmp_path) == ["c"]
    assert stat.S_IMODE((tmp_path / "c").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("shape", "n_tensors"), [(SHAPE, 20), ({**SHAPE, "tie_word_embeddings": False}, 21), (QWEN2, 26)]
)
def test_the_safetensors_library_reads_every_tensor_of_the_shape(tmp_path, shape, n_tensors):
    weights = _weights(_made(tmp_path / "c", shape))
    assert len(weights) == n_tensors
    assert weights["model.embed_tokens.weight"].shape == (512, 64)
    assert weights["model.layers.1.self_attn.k_proj.weight"].shape == (32, 64)
    assert weights["model.layers.0.mlp.down_proj.weight"].shape == (64, 128)
    assert ("lm_head.weight" in weights) is not shape["tie_word_embeddings"]
    assert ("model.layers.0.self_attn.q_proj.bias" in weights) is (shape is QWEN2)


def test_the_file_has_a_pytorch_header_that_ends_on_eight_bytes(tmp_path):
    content = (_made(tmp_path / "c") / "model.safetensors").read_bytes()
    header_bytes = int.from_bytes(content[:8], "little")
    assert header_bytes % 8 == 0
    assert json.loads(content[8 : 8 + header_bytes])["__metadata__"] == {"format": "pt"}


def test_the_config_is_the_one_given_with_marks(tmp_path):
    config = json.loads((_made(tmp_path / "c", {**SHAPE, "other": [1]}) / "config.json").read_text())
    assert config == {
        **SHAPE,
        "other": [1],
        "torch_dtype": "bfloat16",
        "bos_token_id": 510,
        "eos_token_id": 511,
        "slmprof_synthetic": True,
        "slmprof_standin_for": "tiny-1m",
    }
    checkpoint = open_checkpoint(tmp_path / "c")
    assert checkpoint.standin_for == "tiny-1m"


@pytest.mark.parametrize(
    ("model_type", "architecture"),
    [("llama", "LlamaForCausalLM"), ("mistral", "MistralForCausalLM"), ("qwen2", "Qwen2ForCausalLM")],
)
def test_the_class_follows_from_the_model_type_where_none_is_named(tmp_path, model_type, architecture):
    shape = {key: value for key, value in SHAPE.items() if key != "architectures"} | {"model_type": model_type}
    assert open_checkpoint(_made(tmp_path / "c", shape)).architecture == architecture


# --- values


def test_norms_are_one_and_all_else_is_normal_of_the_stated_deviation(tmp_path):
    weights = _weights(_made(tmp_path / "c", QWEN2))
    norms = {name: values for name, values in weights.items() if "norm" in name}
    assert len(norms) == 5
    assert all((values == 1.0).all() for values in norms.values())
    others = {name: values for name, values in weights.items() if "norm" not in name}
    for name, values in others.items():
        assert np.isfinite(values).all(), name
        assert np.abs(values).max() < 0.02 * 6, name
        # Within five standard errors of the mean and of the deviation of a normal sample of that size.
        assert abs(values.mean()) < 5 * 0.02 / values.size**0.5, name
        assert abs(values.std() / 0.02 - 1) < 5 / (2 * values.size) ** 0.5, name


def test_no_two_tensors_and_no_two_rows_are_the_same(tmp_path):
    # Rows as long as the block of random values that is repeated would all begin with the same value.
    shape = {**SHAPE, "hidden_size": 1024, "vocab_size": 4096, "num_hidden_layers": 1}
    weights = _weights(_made(tmp_path / "c", shape))
    rows = weights["model.embed_tokens.weight"]
    assert len(np.unique(rows[:, :8], axis=0)) == len(rows)
    starts = {tuple(values.ravel()[:8].tolist()) for name, values in weights.items() if "norm" not in name}
    assert len(starts) == 8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_weights(tmp_path):
    one, same, other = (_made(tmp_path / name, seed=seed) for name, seed in (("a", 3), ("b", 3), ("c", 4)))
    for name in FILES:
        assert (one / name).read_bytes() == (same / name).read_bytes()
    assert (one / "model.safetensors").read_bytes() != (other / "model.safetensors").read_bytes()
    assert (one / "tokenizer.json").read_bytes() == (other / "tokenizer.json").read_bytes()


def test_progress_counts_the_bytes_of_the_weights(tmp_path):
    seen: list[tuple[str, int, int]] = []
    with watch(progress=lambda *step: seen.append(step)):
        _made(tmp_path / "c")
    n_bytes = 2 * 106_816  # the values of this shape, in 16 bits
    assert {(stage, total) for stage, _, total in seen} == {("synthesize", n_bytes)}
    assert [done for _, done, _ in seen] == sorted({done for _, done, _ in seen})
    assert seen[-1][1] == n_bytes


# --- the tokenizer


@pytest.mark.parametrize("n_vocab", [258, 259, 300, 1000, 32000, 49152])
def test_the_vocabulary_has_exactly_the_asked_size(tmp_path, n_vocab):
    tokenizer = Tokenizer.from_file(str(_made(tmp_path / "c", {**SHAPE, "vocab_size": n_vocab}) / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == n_vocab
    assert sorted(tokenizer.get_vocab().values()) == list(range(n_vocab))
    assert (tokenizer.token_to_id("<|begin|>"), tokenizer.token_to_id("<|end|>")) == (n_vocab - 2, n_vocab - 1)


@pytest.mark.parametrize("text", ["The rain in Spain", "naïve 日本 🚀\n\t x1 22", "", " ", "<|begin|>a<|end|>"])
def test_any_text_is_tokenized_and_is_itself_again(tmp_path, text):
    tokenizer = Tokenizer.from_file(str(_made(tmp_path / "c", {**SHAPE, "vocab_size": 2000}) / "tokenizer.json"))
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_a_larger_vocabulary_makes_fewer_tokens_of_a_text(tmp_path):
    text = "There is a little time to read the other letters and notes."
    counts = []
    for n_vocab in (258, 1000, 32000):
        folder = _made(tmp_path / str(n_vocab), {**SHAPE, "vocab_size": n_vocab})
        counts.append(len(Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids))
    assert counts[0] == len(text.encode())
    assert counts[0] > counts[1] >= counts[2]


# --- what it becomes


@pytest.mark.parametrize(
    "shape", [SHAPE, {**SHAPE, "tie_word_embeddings": False}, QWEN2], ids=["tied", "untied", "qwen2"]
)
def test_it_converts_and_decodes_and_is_marked_in_the_file(tmp_path, shape):
    folder = _made(tmp_path / "c", shape)
    convert(folder, tmp_path / "m.gguf")
    artifact = describe(tmp_path / "m.gguf")
    assert (artifact.weights, artifact.standin_for) == ("synthetic", "tiny-1m")
    assert artifact.level == "BF16"
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = ["The rain in Spain", "x1 22\n naïve", "<|begin|>a<|end|>"]
    (answer,) = ask([Question(path=str(tmp_path / "m.gguf"), texts=texts)])
    assert answer.loads, answer.log
    assert (answer.decodes, answer.n_params, answer.n_vocab) == (True, artifact.n_params, 512)
    assert answer.ids == [tokenizer.encode(text).ids for text in texts]
    assert answer.back == texts
    assert answer.metadata["slmprof.weights"] == "synthetic"
    assert answer.metadata["tokenizer.ggml.bos_token_id"] == "510"


def test_real_weights_are_not_marked_by_a_name_alone(tmp_path):
    folder = _made(tmp_path / "c")
    config = json.loads((folder / "config.json").read_text())
    del config["slmprof_synthetic"]
    (folder / "config.json").write_text(json.dumps(config))
    convert(folder, tmp_path / "m.gguf")
    assert (describe(tmp_path / "m.gguf").weights, describe(tmp_path / "m.gguf").standin_for) == ("real", None)


# --- refusals


def test_an_empty_directory_is_filled_and_one_with_files_is_refused(tmp_path):
    (tmp_path / "c").mkdir()
    assert _names(_made(tmp_path / "c")) == FILES
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("dear")
    for name in ("c", "mine", "file"):
        said = _refusal(lambda name=name: _made(tmp_path / name))
        assert said == f"{tmp_path / name} exists and is not empty; choose another -o"
    assert _names(tmp_path / "mine") == ["letter.txt"]
    assert (tmp_path / "file").read_text() == "dear"
    assert _names(tmp_path) == ["c", "file", "mine"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"architectures": ["GPT9"]}, "the architecture GPT9 is not supported yet"),
        ({"architectures": None, "model_type": "gpt9"}, "has the model_type 'gpt9'"),
        ({"architectures": None, "model_type": ["llama"]}, "has the model_type ['llama']"),
        ({"architectures": [None]}, "the architecture None is not supported yet"),
        ({"vocab_size": 257}, "a vocabulary of 257 tokens has no room for 256 bytes and 2 special tokens"),
        ({"vocab_size": (1 << 20) + 1}, "a vocabulary of 1048577 tokens is larger than any known"),
        ({"vocab_size": None}, "vocab_size = None, which must be a positive number"),
        ({"hidden_size": "64"}, "hidden_size = '64'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers = 0"),
        ({"num_hidden_layers": 2_000_000_000}, "llama.cpp takes 512 at most"),
        ({"head_dim": 5}, "even number"),
    ],
)
def test_a_shape_that_cannot_be_made_is_one_line_and_leaves_nothing(tmp_path, changes, words):
    assert words in _refusal(lambda: _made(tmp_path / "out" / "c", {**SHAPE, **changes}))
    assert not (tmp_path / "out").exists()


def test_too_little_room_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    full = shutil.disk_usage(tmp_path)._replace(free=10 * MIB)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _path: full)
    said = _refusal(lambda: _made(tmp_path / "out" / "c"))
    assert said.startswith("the synthetic checkpoint needs 64.2 MiB in ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError(28, "No space left on device"), UserError), (KeyboardInterrupt(), KeyboardInterrupt)],
)
def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch, error, raised):
    def fail(*_arguments: Any) -> None:
        raise error

    monkeypatch.setattr(module, "_write_tokenizer", fail)
    with pytest.raises(raised) as caught:
        _made(tmp_path / "c")
    if raised is UserError:
        assert str(caught.value) == (
            f"cannot write {tmp_path / 'c'}: No space left on device; free space or choose another -o"
        )
    assert _names(tmp_path) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    said = _refusal(lambda: _made(tmp_path / "file" / "c"))
    assert said.startswith(f"cannot write {tmp_path / 'file' / 'c'}: ")
    assert said.endswith("; choose another -o")
