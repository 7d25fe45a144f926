"""What runs a cell: its settings in each program's own words, and untrusted names that stay names."""

import ast
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from profiler.deploy.files import find_model, write_deploy
from profiler.deploy.llama_cpp import PINNED
from profiler.deploy.make import deploy_files
from profiler.deploy.make import deploy_of as deploy_or_none
from profiler.deploy.records import Deploy
from profiler.records.cell_summary import CellSummary
from profiler.records.config import CACHE_TYPES
from tests.support.cells import artifact
from tests.support.paths import ROOT
from tests.support.summaries import summary

# Of github.com/ollama/ollama: docs/modelfile.mdx has the instructions and num_ctx, docs/api.md the other parameters.
OLLAMA_INSTRUCTIONS = {"FROM", "PARAMETER", "TEMPLATE", "SYSTEM", "ADAPTER", "LICENSE", "MESSAGE", "REQUIRES"}
OLLAMA_PARAMETERS = {
    "num_ctx": int, "num_batch": int, "num_gpu": int, "num_thread": int, "use_mmap": json.loads,
}  # fmt: skip
MEMORY = "--parallel 1 --cache-ram 0 --ctx-checkpoints 0 --fit off"
HOSTILE = (
    "two words.gguf",
    "a'; touch PWNED; '.gguf",
    "$(touch PWNED)`touch PWNED`.gguf",
    '"""+open("PWNED","w").name+""".gguf',
    "-rf.gguf",
    "x]\n[*]\nhost = 0.0.0.0\nFROM evil\n#.gguf",
    "; rm # {model} {0} %s \\ .gguf",
    " coding: utf_7 +AFs- \u2028\x1b[2J\u202e.gguf",
    "…/ü 模型.gguf ",
)


def cell(file_name: str = "tiny.gguf", **changes: Any) -> CellSummary:
    """Return a cell of a file with a name, and settings of its config changed."""
    made = summary(model=changes.pop("model", "tiny"), flash_attn=changes.pop("in_force", True))
    named = msgspec.structs.replace(made.artifact, file_name=file_name)
    return msgspec.structs.replace(
        made, artifact=named, config=msgspec.structs.replace(made.config, **changes) if changes else made.config
    )


def deploy_of(made: CellSummary, **how: Any) -> Deploy:
    found = deploy_or_none(made, **how)
    assert found is not None
    return found


def test_the_line_has_every_setting_and_no_other() -> None:
    found = deploy_of(cell(n_threads=2, n_threads_batch=4, type_k="q8_0", load_mode="none"))
    assert found.llama_server == (
        "llama-server --model tiny.gguf --threads 2 --threads-batch 4 --ctx-size 768 --batch-size 2048 "
        "--ubatch-size 512 --cache-type-k q8_0 --cache-type-v f16 --flash-attn on --load-mode none --repack "
        f"--device none {MEMORY}"
    )
    assert found.llama_cli == found.llama_server.replace("llama-server", "llama-cli")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"in_force": None, "flash_attn": "off"}, "--flash-attn off"),
        ({"in_force": False, "flash_attn": "auto"}, "--flash-attn off"),
        ({"repack": False}, "--no-repack"),
        ({"device": "gpu", "n_gpu_layers": -1}, f"--repack --n-gpu-layers all {MEMORY}"),
        ({"device": "gpu", "n_gpu_layers": 7}, f"--repack --n-gpu-layers 7 {MEMORY}"),
        ({"cores": (0, 5)}, "--device none --cpu-mask 0x21 --cpu-mask-batch 0x21"),
        ({"swa_full": True}, f"--swa-full {MEMORY}"),
        ({"load_mode": "mmap+mlock"}, "--load-mode mmap+mlock"),
    ],
)
def test_a_setting_is_a_flag(changes: dict[str, Any], words: str) -> None:
    assert f" {words} " in f"{deploy_of(cell(**changes)).llama_server} "


@pytest.mark.parametrize("changes", [{"type_k": "q9"}, {"type_v": "f16\n[*]"}, {"load_mode": "$(x)"}])
def test_a_setting_that_llama_cpp_does_not_know_is_not_written(changes: dict[str, Any], tmp_path: Path) -> None:
    assert deploy_or_none(cell(**changes)) is None
    assert write_deploy(cell(**changes), tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_file_above_4_gib_is_kept_resident_as_it_was_measured() -> None:
    made = cell()
    large = msgspec.structs.replace(made, artifact=msgspec.structs.replace(made.artifact, file_bytes=5 << 30))
    assert deploy_of(large).llama_server.endswith(f"{MEMORY} --lazy-mode off")


def test_a_models_file_has_the_same_settings() -> None:
    made = cell("tiny-Q8_0.gguf", n_threads=2, cores=(1,), repack=False)
    found = deploy_of(made, model_path="../models/tiny-Q8_0.gguf", n_ctx=4096)
    preset = ini(found.models_ini)["tiny-Q8_0"]
    words = iter(shlex.split(found.llama_server)[1:])
    typed = {word.removeprefix("--").removeprefix("no-"): word for word in words if word.startswith("--")}
    assert set(preset) == set(typed)
    assert (preset["model"], preset["ctx-size"], preset["repack"]) == ("../models/tiny-Q8_0.gguf", "4096", "false")
    assert "; The context was 768 when it was measured" in found.models_ini


def test_a_modelfile_has_documented_keys_only() -> None:
    made = cell(n_threads=2, n_threads_batch=4, type_k="q8_0", cores=(0, 1), repack=False, load_mode="mlock")
    found = deploy_of(made).modelfile
    commands = modelfile(found)
    assert {name for name, _ in commands} <= OLLAMA_INSTRUCTIONS
    parameters = dict(value.split(" ") for name, value in commands if name == "PARAMETER")
    assert {name: OLLAMA_PARAMETERS[name](value) for name, value in parameters.items()} == {
        "num_ctx": 768, "num_batch": 512, "num_thread": 2, "num_gpu": 0, "use_mmap": False,
    }  # fmt: skip
    assert "# Start the server with: OLLAMA_NUM_PARALLEL=1 OLLAMA_FLASH_ATTENTION=1 ollama serve\n" in found
    missing = re.findall(r"^# (?:Not expressed: |Ollama has no )(.*?)(?:[.;]|$)", found, re.MULTILINE)
    assert missing == [
        "KV cache of K q8_0 and V f16",
        "prefill was measured with 4 threads",
        "a logical batch of 2048",
        "load mode mlock",
        "repacking was off",
        "bound to CPUs 0,1",
    ]
    assert "OLLAMA_KV_CACHE_TYPE=q8_0 ollama serve\n" in deploy_of(cell(type_k="q8_0", type_v="q8_0")).modelfile
    assert "PARAMETER num_gpu 999\n" in deploy_of(cell(device="gpu", n_gpu_layers=-1)).modelfile
    assert "merge them" in deploy_of(cell("x-00001-of-00002.gguf")).modelfile


@pytest.mark.parametrize("load_mode", ["auto", "mmap", "none", "mlock", "mmap+mlock", "dio"])
def test_the_python_lines_load_the_file_as_it_was_measured(load_mode: str) -> None:
    text = deploy_of(cell(load_mode=load_mode, type_v="q4_0", cores=(3,), repack=False)).python
    settings = constants(text)["SETTINGS"]
    assert settings["use_mmap"] == (load_mode in ("auto", "mmap", "mmap+mlock"))
    assert settings["use_mlock"] == (load_mode in ("mlock", "mmap+mlock"))
    assert (settings["type_k"], settings["type_v"]) == (CACHE_TYPES["f16"].ggml_type, CACHE_TYPES["q4_0"].ggml_type)
    assert (settings["n_gpu_layers"], settings["offload_kqv"], settings["swa_full"]) == (0, False, False)
    assert text.count("Not expressed: ") == 2 + (load_mode == "dio")


def test_the_flags_are_those_of_the_pinned_llama_cpp() -> None:
    assert f'"{PINNED.replace(" ", "==")}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", HOSTILE)
def test_an_untrusted_name_stays_a_name(name: str) -> None:
    made = cell(name, model=name)
    shown = "".join(each if each.isprintable() else "?" for each in name)
    expected = f"./{shown}" if shown.startswith("-") else shown
    found = deploy_of(made)
    assert shlex.split(found.llama_server)[:3] == ["llama-server", "--model", expected]
    usual = deploy_of(cell())
    assert constants(found.python) == constants(usual.python) | {"MODEL": expected}
    (preset,) = ini(found.models_ini).values()
    (common,) = ini(usual.models_ini).values()
    holds = not re.search("[;#]", shown) and shown == shown.strip()
    assert preset == common | {"model": expected if holds else ""}
    assert modelfile(found.modelfile)[1:] == modelfile(usual.modelfile)[1:]
    assert modelfile(found.modelfile)[0] == ("FROM", f"./{shown}")
    for text in deploy_files(made).values():
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable() and "/" not in name])
def test_the_script_runs_the_line_in_its_folder(name: str, tmp_path: Path) -> None:
    model = tmp_path / "models" / name
    model.parent.mkdir()
    model.touch()
    found = find_model(artifact(file_name=name), [tmp_path / "elsewhere", tmp_path])
    assert found == model
    folder = tmp_path / "de ploy's"
    write_deploy(cell(name, model=name), folder, model=found)
    program = tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\nfor word in "$@"; do printf "%s\\n" "$word"; done\npwd\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}"}
    command = ["sh", folder / "llama-server.sh", "--port", "1"]
    words = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True).splitlines()
    assert words[:2] == ["--model", f"../models/{name}"]
    assert words[-3:] == ["--port", "1", str(folder)]
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize("name", ["../secret.gguf", "/etc/passwd", "a\nb.gguf", "x" * 5000])
def test_a_name_that_is_none_is_not_found(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "secret.gguf").touch()
    assert find_model(artifact(file_name=name), [folder]) is None


def constants(program: str) -> dict[str, Any]:
    """Return the constants of a Python program, which is not run; a path is its last part."""
    found: dict[str, Any] = {}
    for node in ast.parse(program.encode()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value.right if isinstance(node.value, ast.BinOp) else node.value
            found[node.targets[0].id] = ast.literal_eval(value)
    return found


def ini(text: str) -> dict[str, dict[str, str]]:
    """Read a models file by the grammar of common/preset.cpp: a value ends where ; or # begins."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in text.split("\n"):
        if header := re.fullmatch(r"\[[ \t]*([^]]+?)[ \t]*\]", line):
            section = found.setdefault(header[1], {})
        elif pair := re.fullmatch(r"([a-zA-Z_][\w.-]*)[ \t]*=[ \t]*(.*?)[ \t]*(?:[;#].*)?", line):
            if pair[1] != "version":
                section[pair[1]] = pair[2]
        else:
            assert re.fullmatch(r"[ \t]*(?:[;#].*)?", line), line
    return found


def modelfile(text: str) -> list[tuple[str, str]]:
    """Read a Modelfile by the rules of Ollama's parser: a value ends with its line, and may stand in quotes."""
    found = []
    for line in text.split("\n"):
        if line and not line.startswith("#"):
            name, _, value = line.partition(" ")
            value = value.strip()
            if value.startswith('"'):
                assert value[:3] != '"""'
                assert value.endswith('"')
                value = value[1:-1]
            found.append((name, value))
    return found
