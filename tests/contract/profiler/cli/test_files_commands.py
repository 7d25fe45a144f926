"""The commands that make files, through the command line as a user calls it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gguf import GGUFReader

from tests.support.adapters import factors, write_adapter
from tests.support.hubserver import Repo, running_hub
from tests.support.paths import ROOT

SHAPE = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": True,
}


class Shell:
    """Runs slmprof with folders of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE"))},
            "SLMPROF_CACHE": str(home / "cache"),
            "HF_HOME": str(home / "hf"),
            "PYTHONPATH": str(ROOT),
            "no_proxy": "127.0.0.1",
        }

    def run(self, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "profiler", *words],
            cwd=self.home,
            env={**self.settings, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def lines(self, *words: str, **settings: str) -> list[str]:
        done = self.run(*words, **settings)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def refused(self, *words: str, **settings: str) -> str:
        done = self.run(*words, **settings)
        assert done.returncode == 2, (done.returncode, done.stderr)
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1, done.stderr
        return done.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text(json.dumps(SHAPE))
    return Shell(tmp_path)


def test_the_registry_as_a_table_and_as_json(shell: Shell) -> None:
    table = shell.lines("models", "--max-params", "140M", "--family", "llama")
    assert table[0].split() == ["name", "params", "date", "family", "runs", "license"]
    assert any(line.split()[:4] == ["smollm2-135m", "134.5M", "2024-11", "llama"] for line in table)
    models = json.loads("\n".join(shell.lines("models", "--json", "--max-params", "500M")))
    assert {"name", "repo", "family", "license", "n_params", "gated", "config"} <= set(models[0])
    assert all(model["n_params"] <= 500e6 for model in models)
    (standin,) = json.loads("\n".join(shell.lines("models", "Galactica 125M", "--json")))
    assert (standin["supported"], standin["family"]) == (False, "opt")
    assert standin["standin"]["architecture"] == "GPT2LMHeadModel"
    found = shell.lines("models", "phi-1")
    assert [line.split()[0] for line in found[1:3]] == ["phi-1", "phi-1.5"]
    assert "repository  microsoft/phi-1" in found  # the details of the model with exactly this name
    assert "no model matches" in shell.refused("models", "opt", "--supported")
    assert "bloom, " in shell.refused("models", "--family", "gpt9")
    assert "number of parameters" in shell.refused("models", "--max-params", "many")


def test_a_hub_s_checkpoint_becomes_gguf_files(shell: Shell) -> None:
    assert shell.lines("synthesize", "tiny/config.json", "-o", "made") == ["made"]
    made = {path.name: path.read_bytes() for path in (shell.home / "made").iterdir()}
    with running_hub({"org/tiny": Repo(made)}) as hub:
        folder = Path(shell.lines("pull", "org/tiny", HF_ENDPOINT=hub.url)[0])
        assert (folder / "model.safetensors").read_bytes() == made["model.safetensors"]
        assert shell.lines("convert", "org/tiny", "-o", "tiny.gguf", HF_ENDPOINT=hub.url) == ["tiny.gguf"]
        files = shell.lines("convert", "org/tiny", "-q", "Q8_0,F16", "-o", "levels", HF_ENDPOINT=hub.url)
    assert files == ["levels/tiny-526K-Q8_0.gguf", "levels/tiny-526K-F16.gguf"]
    assert sorted(path.name for path in (shell.home / "levels").glob("*.gguf")) == [
        "tiny-526K-F16.gguf",
        "tiny-526K-Q8_0.gguf",
    ]

    again = shell.lines("quantize", "levels/tiny-526K-F16.gguf", "-q", "Q8_0,Q4_0", "-o", "more", "-j", "1")
    assert again == ["more/tiny-526K-Q8_0.gguf", "more/tiny-526K-Q4_0.gguf"]
    # The bytes differ: straight from bfloat16 is not by way of float16.
    sizes = {path.stat().st_size for path in shell.home.glob("*/tiny-526K-Q8_0.gguf")}
    assert max(sizes) - min(sizes) < 100

    with running_hub({"org/tiny-GGUF": Repo({"x-Q8_0.gguf": (shell.home / files[0]).read_bytes()})}) as hub:
        path = Path(shell.lines("pull", "org/tiny-GGUF", "-q", "q8_0", HF_ENDPOINT=hub.url)[0])
        assert path.name == "x-Q8_0.gguf"
        assert "-q LEVELS" in shell.refused("pull", "org/tiny-GGUF", HF_ENDPOINT=hub.url)


def test_an_adapter_of_a_hub_is_merged_into_its_base(shell: Shell) -> None:
    shell.lines("synthesize", "tiny/config.json", "-o", "made")
    made = {path.name: path.read_bytes() for path in (shell.home / "made").iterdir()}
    width = SHAPE["hidden_size"]
    tensors = factors("model.layers.0.self_attn.q_proj", width, width)
    write_adapter(shell.home / "lora", tensors, base_model_name_or_path="org/tiny")
    adapter = {path.name: path.read_bytes() for path in (shell.home / "lora").iterdir()}
    with running_hub({"org/tiny": Repo(made), "org/lora": Repo(adapter)}) as hub:
        pulled = shell.run("pull", "org/lora", HF_ENDPOINT=hub.url)
        folder = pulled.stdout.strip()
        assert pulled.stderr.splitlines()[-1].endswith(f"slmprof convert org/tiny --adapter {folder} -o tuned.gguf")
        shell.lines("convert", "org/tiny", "--adapter", "org/lora", "-o", "one.gguf", HF_ENDPOINT=hub.url)
        shell.lines("convert", "org/tiny", "-o", "plain.gguf", HF_ENDPOINT=hub.url)
        assert "--adapter org/lora" in shell.refused("convert", "org/lora", "-o", "x.gguf", HF_ENDPOINT=hub.url)
    assert q_proj_of(shell.home / "one.gguf") != q_proj_of(shell.home / "plain.gguf")


def q_proj_of(path: Path) -> bytes:
    (found,) = (tensor for tensor in GGUFReader(path).tensors if tensor.name == "blk.0.attn_q.weight")
    return bytes(found.data.tobytes())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("pull", "smolm2-135m"), "did you mean 'smollm2-135m'?"),
        (("pull", "tiny"), "local path already"),
        (("convert", "opt-125m", "-o", "x.gguf"), "opt-125m cannot be converted: llama.cpp has no OPT"),
        (("synthesize", "recurrentgemma-2b", "-o", "x"), "cannot be profiled: llama.cpp has no RecurrentGemma"),
        (("pull", "org/x", "-q", "Q9"), "no level 'Q9'"),
        (("convert", "tiny", "-o", "x.gguf"), "no safetensors"),
        (("convert", "nowhere/", "-o", "x.gguf"), "there is no file or directory"),
        (("convert", "tiny", "-o", "x.bin"), "must end in .gguf"),
        (("convert", "tiny", "-o", "x.gguf", "-q", "Q9"), "no level 'Q9'"),
        (("convert", "tiny", "-o", "x.gguf", "--outtype", "f8"), "--outtype"),
        (("quantize", "none.gguf", "-q", "Q8_0", "-o", "x"), "no file none.gguf"),
        (("quantize", "tiny/config.json", "-q", "Q8_0", "-o", "x"), "not a GGUF file"),
        (("quantize", "none.gguf", "-q", "Q8_0", "-o", "x", "-j", "0"), "-j"),
        (("synthesize", "org/x", "-o", "x"), "HF_HUB_OFFLINE is set"),
        (("synthesize", "tiny", "-o", "tiny"), "exists and is not empty"),
        (("convert", "tiny", "--adapter", "./none", "-o", "x.gguf"), "there is no directory ./none"),
        (("cache", "empty"), "empty"),
        (("cache", "clean"), "add --yes"),
    ],
)
def test_a_wrong_input_is_one_line_and_leaves_nothing(shell: Shell, words: tuple[str, ...], expected: str) -> None:
    assert expected in shell.refused(*words, HF_HUB_OFFLINE="1")
    assert {path.name for path in shell.home.iterdir()} <= {"tiny", "cache", "hf"}
    assert [path.name for path in (shell.home / "tiny").iterdir()] == ["config.json"]


def test_the_cache_is_shown_and_emptied(shell: Shell) -> None:
    assert shell.lines("cache", "path") == [str(shell.home / "cache")]
    models = shell.home / "cache" / "models"
    models.mkdir(parents=True)
    (models / "m.gguf").write_bytes(b"x" * 2048)
    listed = shell.lines("cache")
    assert listed[0].split()[:2] == ["2.0", "KiB"]
    assert "models/m.gguf" in listed[0]
    shell.lines("cache", "clean", "--yes")
    assert not models.exists()


def test_a_note_lists_what_a_file_was_made_from(shell: Shell) -> None:
    shell.lines("synthesize", "tiny/config.json", "-o", "made")
    shell.lines("convert", "made", "-q", "Q8_0", "-o", "out")
    note = json.loads((shell.home / "out" / "made-526K-Q8_0.gguf.provenance.json").read_text())
    assert note["file"] == "made-526K-Q8_0.gguf"
    found = {each["name"]: (each["n_bytes"], each["sha256"]) for each in note["inputs"]}
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        content = (shell.home / "made" / name).read_bytes()
        assert found[name] == (len(content), hashlib.sha256(content).hexdigest())
    assert str(shell.home) not in json.dumps(note)
