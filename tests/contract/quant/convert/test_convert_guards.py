"""What a conversion refuses since llama.cpp would compute something else, and models whose text part alone is taken."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from profiler.cli import _handle_termination
from quant.base.errors import UserError
from quant.convert.checkpoint import Checkpoint, Tensor, open_checkpoint
from quant.convert.families import family_of
from quant.convert.families.planned import Planned
from quant.convert.layout import _jobs, layout_of_shape
from quant.convert.provenance import Origin
from quant.convert.to_gguf import convert
from quant.convert.tokenizer.pre import detect_pre
from quant.convert.tokenizer.vocabulary import load_vocabulary
from quant.gguf_io.header import open_gguf_header
from quant.hub.select import RepoFile, choose_small
from quant.sources.prepare import PrepareOptions, prepare, shape_config
from quant.sources.resolve import resolve
from tests.families import variants
from tests.support.checkpoints import decoder_config, make_checkpoint, write_checkpoint
from tests.support.commandline import assert_one_line, slmprof


def _with(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {**config, **changes}


# --- configs


@pytest.mark.parametrize("name", ["llama", "qwen2", "phi3", "phi2", "minicpm3"])
def test_another_activation_is_refused(name: str) -> None:
    config = next(each.config for key, each in variants().items() if key.startswith(f"{name}-"))
    with pytest.raises(UserError, match=r'hidden_act = "relu", which llama.cpp does not compute'):
        layout_of_shape(_with(config, hidden_act="relu"), standin_for=name)


@pytest.mark.parametrize("name", ["gemma2", "gemma3"])
def test_queries_that_are_scaled_otherwise_are_refused(name: str) -> None:
    config = next(each.config for key, each in variants().items() if key.startswith(f"{name}-"))
    size = config["head_dim"]
    layout_of_shape(_with(config, query_pre_attn_scalar=size), standin_for=name)
    with pytest.raises(UserError, match=f"query_pre_attn_scalar = {size + 2}, which llama.cpp does not compute"):
        layout_of_shape(_with(config, query_pre_attn_scalar=size + 2), standin_for=name)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("smollm3", {"num_hidden_layers": 2_000_000_000}),
        ("stablelm", {"num_key_value_heads": 2_000_000_000, "qk_layernorm": True}),
        ("llama", {"head_dim": 2_000_000_000, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}}),
    ],
)
def test_a_config_that_asks_for_billions_is_refused_at_once(name: str, changes: dict[str, Any]) -> None:
    config = next(each.config for key, each in variants().items() if key.startswith(f"{name}-"))
    began = time.monotonic()
    with pytest.raises(UserError, match=f"config.json has {next(iter(changes))} = 2000000000; .* at most"):
        layout_of_shape(_with(config, **changes), standin_for=name)
    assert time.monotonic() - began < 5


def test_rope_settings_that_cannot_be_computed_are_one_line() -> None:
    config = next(each.config for key, each in variants().items() if key.startswith("phi3-long-factors"))
    with pytest.raises(UserError, match=r"the rope settings of|cannot be written"):
        layout_of_shape(_with(config, original_max_position_embeddings=1), standin_for="phi3").keys  # noqa: B018


def test_a_config_that_is_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(UserError, match=r"deep\.json is no JSON"):
        shape_config(resolve(str(path)))


# --- checkpoints


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "hqq", "bits": 4}}, "hqq"),
        ({"quantization": {"group_size": 64, "bits": 4}}, "MLX"),
        ({"text_config": {"quantization_config": {"quant_method": "aqlm"}}}, "aqlm"),
    ],
)
def test_weights_that_are_quantized_already_are_named(tmp_path: Path, config: dict[str, Any], method: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    with pytest.raises(UserError, match=rf"is quantized already \({method}\); use the checkpoint .* --converter DIR"):
        open_checkpoint(tmp_path)


def test_parts_of_one_tensor_in_several_types_are_refused(tmp_path: Path) -> None:
    tensors = {name: Tensor(name, kind, (4,), tmp_path, 0) for name, kind in (("a", "F32"), ("b", "BF16"))}
    planned = Planned(name="a", shape=(2, 4), stacked=("a", "b"), target="both")
    checkpoint = Checkpoint(tmp_path, {"architectures": ["X"]}, tensors)
    with pytest.raises(UserError, match="holds the parts of a in several types"):
        list(_jobs(checkpoint, family_of({"architectures": ["LlamaForCausalLM"]}), [planned]))


@pytest.mark.parametrize("prefix", ["language_model.", "text_model."])
def test_the_text_part_of_a_model_that_sees_is_converted(tmp_path: Path, prefix: str) -> None:
    plain = make_checkpoint(tmp_path / "plain")
    inner = decoder_config()
    whole = write_checkpoint(tmp_path / "whole", inner, prefix=prefix)
    text = {key: value for key, value in inner.items() if key != "architectures"}
    outer = {"architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "text_config": text}
    (whole / "config.json").write_text(json.dumps(outer))
    for folder in (plain, whole):
        convert(folder, tmp_path / f"{folder.name}.gguf", origin=Origin(model="m"))
    one, other = (open_gguf_header(tmp_path / f"{name}.gguf") for name in ("plain", "whole"))
    assert one.tensors == other.tensors
    values = [np.fromfile(tmp_path / f"{name}.gguf", np.uint8)[-4096:] for name in ("plain", "whole")]
    assert np.array_equal(*values)


def test_two_checkpoints_of_one_name_do_not_replace_each_other(tmp_path: Path) -> None:
    one, other = make_checkpoint(tmp_path / "a" / "step-1000"), make_checkpoint(tmp_path / "b" / "step-1000", seed=1)
    prepare_options = PrepareOptions(levels="Q8_0", models_dir=tmp_path / "models")
    with pytest.raises(UserError, match="one name, step-1000; rename one of them"):
        prepare([str(one), str(other)], prepare_options)
    assert not (tmp_path / "models").exists()
    assert len(prepare([str(one), str(one / "config.json")], prepare_options)) == 1


def test_a_hub_s_file_that_is_gone_is_one_line(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    done = slmprof("profile", folder, "-q", "Q8_0", "-o", tmp_path / "r.jsonl", cache=tmp_path / "cache")
    assert_one_line(done, "model.safetensors", "download the checkpoint again")


def test_a_repository_is_told_where_a_file_came_from(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m")
    convert(folder, tmp_path / "m.gguf", origin=Origin(model="m", source="org/m", revision="abc"))
    header = open_gguf_header(tmp_path / "m.gguf")
    assert header.text("general.source.repo_url") == "https://huggingface.co/org/m"


# --- tokenizers


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"normalizer": {"type": "Lowercase"}}, "the normalizer Lowercase"),
        ({"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "StripAccents"}]}}, "StripAcc"),
        ({"model": {"type": "BPE", "end_of_word_suffix": "</w>"}}, 'end_of_word_suffix "</w>"'),
    ],
)
def test_a_tokenizer_that_changes_letters_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    tokenizer = {"pre_tokenizer": {"type": "ByteLevel"}, "normalizer": {"type": "NFC"}, "model": {"type": "BPE"}}
    assert detect_pre(tokenizer, tmp_path) == "gpt-2"
    with pytest.raises(UserError, match=r"which llama\.cpp does not compute; pass .* --pre NAME") as refused:
        detect_pre({**tokenizer, **changes}, tmp_path)
    assert words in str(refused.value)


def test_a_pre_tokenizer_is_no_matter_of_sentencepiece(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "m", tokenizer="spm")
    config = json.loads((folder / "config.json").read_text())
    load_vocabulary(folder, config)
    with pytest.raises(UserError, match="SentencePiece tokenizer, which has no pre-tokenizer"):
        load_vocabulary(folder, config, pre="qwen2")


def test_qwen_s_own_vocabulary_is_fetched() -> None:
    listed = [RepoFile(name, 1) for name in ("config.json", "model.safetensors", "qwen.tiktoken")]
    assert [file.path for file in choose_small("Qwen/Qwen-1_8B", listed)] == ["config.json", "qwen.tiktoken"]


# --- ways to end


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_request_to_end_is_taken_as_ctrl_c(name: str) -> None:
    number = getattr(signal, name)
    before = signal.signal(number, signal.SIG_DFL)
    try:
        _handle_termination()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
        signal.signal(number, signal.SIG_IGN)
        _handle_termination()
        os.kill(os.getpid(), number)  # nohup's setting is kept
    finally:
        signal.signal(number, before)
