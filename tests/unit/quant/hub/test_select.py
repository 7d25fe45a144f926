"""The level in a GGUF file's name, and which files of a listing are chosen."""

import json

import pytest

from quant.base.errors import UserError
from quant.convert.weight_files import PICKLED, SAFETENSORS
from quant.hub.select import (
    RepoFile,
    choose_ggufs,
    choose_small,
    choose_weights,
    index_shards,
    kind_of_weights,
    level_of_name,
)


@pytest.mark.parametrize(
    ("path", "level"),
    [
        ("SmolLM2-135M-Instruct-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("tinyllama-1.1b-chat-v1.0.Q5_0.gguf", "Q5_0"),
        ("model_q8_0.gguf", "Q8_0"),
        ("m-IQ4_XS.gguf", "IQ4_XS"),
        ("m-fp16.gguf", "F16"),
        ("m-bf16.gguf", "BF16"),
        ("m.F32.gguf", "F32"),
        ("m-TQ1_0.gguf", "TQ1_0"),
        ("Q6_K/model.gguf", "Q6_K"),
        ("BF16/m-BF16-00001-of-00002.gguf", "BF16"),
        ("Q8_0/m-Q6_K.gguf", "Q6_K"),
        # mixes and layouts that are not among llama.cpp's own levels
        ("m-Q4_0_4_4.gguf", None),
        ("m-Q4_K_L.gguf", None),
        ("m-UD-Q4_K_XL.gguf", None),
        ("m-UD-IQ2_M.gguf", None),
        ("Q4_0/m-Q4_0_8_8.gguf", None),
        ("model.gguf", None),
        ("sniff16.gguf", None),
    ],
)
def test_the_level_in_a_name(path: str, level: str | None) -> None:
    assert level_of_name(path) == level


def files(*paths: str) -> list[RepoFile]:
    return [RepoFile(path, 10) for path in paths]


def test_shards_come_in_order_and_whole() -> None:
    names = [f"m-Q8_0-0000{number}-of-00003.gguf" for number in (1, 2, 3)]
    chosen = choose_ggufs("o/r", files(*reversed(names)), ["Q8_0"])
    assert [file.path for file in chosen["Q8_0"]] == names
    with pytest.raises(UserError, match=r"lacks a shard of m-Q8_0\.gguf: 2 of 3"):
        choose_ggufs("o/r", files(*names[1:]), ["Q8_0"])


def test_a_level_whole_and_in_shards_is_a_question() -> None:
    names = ("m-Q8_0.gguf", "m-Q8_0-00001-of-00001.gguf")
    with pytest.raises(UserError, match="whole and in shards"):
        choose_ggufs("o/r", files(*names), ["Q8_0"])


def test_shards_of_two_counts_are_not_mixed() -> None:
    names = ("m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00003.gguf")
    with pytest.raises(UserError, match="lacks a shard"):
        choose_ggufs("o/r", files(*names), ["Q8_0"])


def test_names_that_leave_the_folder_are_not_chosen() -> None:
    with pytest.raises(UserError, match="no level"):
        choose_ggufs("o/r", files("../m-Q8_0.gguf", "a/../m-Q8_0.gguf", "/m-Q8_0.gguf"), ["Q8_0"])


def test_the_single_file_wins_over_an_index() -> None:
    listed = files("config.json", "tokenizer.json", "model.safetensors", "model.safetensors.index.json")
    assert [file.path for file in choose_small("o/r", listed)] == ["config.json", "tokenizer.json"]
    assert [file.path for file in choose_weights("o/r", listed, SAFETENSORS, None)] == ["model.safetensors"]


def test_pickled_weights_are_chosen_only_without_safetensors() -> None:
    listed = files("config.json", "tokenizer.json", "pytorch_model.bin", "training_args.bin", "optimizer.pt")
    assert kind_of_weights(listed) is PICKLED
    assert [file.path for file in choose_small("o/r", listed)] == ["config.json", "tokenizer.json"]
    assert [file.path for file in choose_weights("o/r", listed, PICKLED, None)] == ["pytorch_model.bin"]
    for name in ("model.safetensors", "model.safetensors.index.json"):
        assert kind_of_weights([*listed, *files(name)]) is SAFETENSORS
    assert kind_of_weights(files("model.bin", "sub/pytorch_model.bin", "consolidated.00.pth")) is None


def test_pickled_shards_are_those_of_their_index() -> None:
    index = b'{"weight_map": {"a": "pytorch_model-00002-of-00002.bin", "b": "pytorch_model-00001-of-00002.bin"}}'
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    listed = files("config.json", "tokenizer.json", "pytorch_model.bin.index.json", "rng_state.pth", *names)
    assert "pytorch_model.bin.index.json" in [file.path for file in choose_small("o/r", listed)]
    assert [file.path for file in choose_weights("o/r", listed, PICKLED, index)] == names
    with pytest.raises(UserError, match=r"lacks pytorch_model-00002-of-00002\.bin"):
        choose_weights("o/r", listed[:-1], PICKLED, index)
    for name in ("../x.bin", "a/x.bin", "x.safetensors", "x.py"):
        with pytest.raises(UserError, match=r"no \.bin file beside it"):
            index_shards("o/r", PICKLED, json.dumps({"weight_map": {"a": name}}).encode())


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"[]",
        b"{}",
        b'{"weight_map": []}',
        b'{"weight_map": {}}',
        b'{"weight_map": {"a": 1}}',
        b'{"weight_map": {"a": "a/b.safetensors"}}',
        b'{"weight_map": {"a": "..safetensors"}}',
        b'{"weight_map": {"a": "weights.bin"}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_index_is_one_line(index: bytes) -> None:
    with pytest.raises(UserError, match="index"):
        index_shards("o/r", SAFETENSORS, index)


def test_a_tokenizer_that_is_too_large_is_refused() -> None:
    listed = [*files("config.json", "model.safetensors"), RepoFile("tokenizer.json", 1 << 40)]
    with pytest.raises(UserError, match=r"tokenizer\.json of o/r"):
        choose_small("o/r", listed)
    with pytest.raises(UserError, match=r"neither tokenizer\.json nor tokenizer\.model"):
        choose_small("o/r", listed[:2])
