"""What runs a choice, in the programs that it is for: flags against their help, answers, and peak memory.

A trained model is profiled, `slmprof recommend -o` writes the files, and each is run: the scripts of llama-server and
llama-cli, a llama-server with the models file, and the Python program. Ollama's is not run.
"""

import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil

from profiler.analysis.summarise import summarise
from profiler.deploy.llama_cpp import flags_of
from profiler.deploy.records import Plan
from profiler.measure.corpus import default_text
from profiler.records.cell_summary import CellSummary
from profiler.records.config import CACHE_TYPES, LOAD_MODES
from profiler.results.file import read_results
from tests.parity.oracle import Oracle, run
from tests.parity.real import MODELS, fetch_model
from tests.support.summaries import summary

SETTINGS = {
    "defaults": ["-t", "1", "--workload", "chat"],
    "all others": ["-t", "1", "--workload", "survey", "--ctk", "q8_0", "--ctv", "q8_0", "--fa", "on", "--load-mode",
                   "none", "--no-repack", "--cores", "0", "--batch", "256", "--ubatch", "128", "--n-ctx", "4096"],
}  # fmt: skip
MEMORY_REL = 0.10
WITHDRAWN = {"--mlock", "--no-mmap"}  # which --load-mode replaced
PROMPT = "The capital of France is"
_TIMEOUT_S = 300
_RUN = """
import re, runpy, sys
from pathlib import Path
sys.argv = [sys.argv[1], {prompt!r}]
runpy.run_path(sys.argv[0], run_name="__main__")
print(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def compare_deploy(oracle: Oracle) -> tuple[bool, dict[str, Any]]:
    """Hold every flag against the programs' help, and run every file of two cells."""
    print("what runs a choice, in the pinned llama.cpp's own programs", flush=True)
    folder = oracle.work / "deploy-files"
    shutil.rmtree(folder, ignore_errors=True)
    findings: dict[str, Any] = {"flags": {}, "cells": []}
    for program in (oracle.llama_server, oracle.llama_cli):
        findings["flags"][program.name] = problems = _flags(program)
        print(f"  {program.name}: {problems or 'every flag is in its help'}", flush=True)
    gguf = fetch_model(MODELS[0], oracle.work / "real")
    for name, options in SETTINGS.items():
        findings["cells"].append(found := _compare(oracle, gguf, options, folder / name.replace(" ", "-")))
        _show(name, found)
    passed = not any(findings["flags"].values()) and all(found["ok"] for found in findings["cells"])
    return passed, findings


def _flags(program: Path) -> list[str]:
    """Return what a program's help does not have of the flags, the load modes and the types of the cache."""
    text = run([str(program), "--help"], quiet=True)
    options = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", text))
    cell = summary()
    config = msgspec.structs.replace(cell.config, cores=(0,), swa_full=True, repack=False)
    large = msgspec.structs.replace(cell.artifact, file_bytes=5 << 30)
    cells = [
        msgspec.structs.replace(cell, config=config, artifact=large),
        msgspec.structs.replace(cell, config=msgspec.structs.replace(config, device="gpu", repack=True)),
    ]
    written = {flag.words[0] for each in cells for flag in flags_of(Plan(each, "x.gguf", 512))}
    modes = set(re.findall(r"^ +- ([a-z+]+): ", text.partition("--load-mode")[2].partition("(env:")[0], re.MULTILINE))
    types = re.findall(r"--cache-type-[kv] TYPE.*?allowed values: ([\w, ]+)", text, re.DOTALL)
    problems = [f"no {flag}" for flag in sorted(written - options)]
    problems += [f"still {flag}" for flag in sorted(WITHDRAWN & options)]
    problems += [f"load modes {sorted(modes)}"] if modes != set(LOAD_MODES) else []
    problems += [f"cache types {each}" for each in types if not set(CACHE_TYPES) <= set(each.split(", "))]
    return problems if types else [*problems, "no types of the cache"]


def _compare(oracle: Oracle, gguf: Path, options: list[str], folder: Path) -> dict[str, Any]:
    """Profile one cell, write what runs it, and run that."""
    results = folder / "results.jsonl"
    folder.mkdir(parents=True)
    (folder / "models").mkdir()
    (folder / "models" / gguf.name).symlink_to(gguf)
    program = [sys.executable, "-m", "profiler"]
    run(
        [*program, "profile", str(gguf), *options, "-r", "1", "--rounds", "1", "--no-anchor", "-o", str(results)],
        quiet=True,
    )
    run([*program, "recommend", str(results), "--flagged", "-o", str(folder)], quiet=True)
    (cell,) = summarise(read_results([results]))
    assert cell.memory.peak_rss_bytes is not None
    assert cell.model_rss_bytes is not None
    deploy = folder / "deploy"
    path = f"{oracle.llama_server.parent}{os.pathsep}{os.environ['PATH']}"
    found: dict[str, Any] = {"measured": cell.memory.peak_rss_bytes, "measured_model": cell.model_rss_bytes.value}
    with _server(["sh", "llama-server.sh"], deploy, path) as (process, url):
        found["server"] = _use(process, url, cell)
    with _server(["llama-server", "--models-preset", "models.ini"], deploy, path) as (process, url):
        found["preset"] = _use(process, url, cell, model=cell.artifact.file_name.removesuffix(".gguf"))
    bare = ["llama-server", "--model", str(gguf), "--ctx-size", str(cell.config.n_ctx)]
    with _server(bare, deploy, path) as (process, url):
        found["server by its defaults"] = _use(process, url, cell)
    with _server(["llama-server"], deploy, path) as (process, _):
        found["server without a model"] = _peak_bytes(process)
    chat = ["sh", "llama-cli.sh", "--prompt", PROMPT, "--predict", "16", "--single-turn", "--temp", "0"]
    found["cli"] = run(chat, quiet=True, cwd=deploy, PATH=path).strip()[-200:]
    program_text = _RUN.format(prompt=PROMPT)
    *answer, kib = run([sys.executable, "-c", program_text, str(deploy / "run.py")], quiet=True).splitlines()
    found["python"] = {"answer": " ".join(answer), "peak": int(kib) << 10}
    return found | {"ok": _judge(found)}


def _use(process: psutil.Process, url: str, cell: CellSummary, model: str = "") -> dict[str, Any]:
    """Have a server do what one round of the cell does, and return what it answered and its peak memory."""
    named = {"model": model} if model else {}
    text = default_text().content.decode()
    tokens = _post(f"{url}/tokenize", {"content": text, **named})["tokens"][: cell.config.n_prompt]
    request = {"prompt": tokens, "n_predict": cell.config.n_gen, "ignore_eos": True, "temperature": 0.0, **named}
    answer = _post(f"{url}/completion", request)
    said = _post(f"{url}/completion", {"prompt": PROMPT, "n_predict": 16, "temperature": 0.0, **named})["content"]
    with urllib.request.urlopen(f"{url}/props" + (f"?model={model}" if model else ""), timeout=_TIMEOUT_S) as reply:
        props = json.load(reply)
    # A router's models run in processes of their own.
    (serving,) = process.children() if model else [process]
    return {
        "n_prompt": answer["tokens_evaluated"] == cell.config.n_prompt,
        "n_gen": answer["tokens_predicted"] == cell.config.n_gen,
        "n_ctx": props["default_generation_settings"]["n_ctx"],
        "slots": props["total_slots"],
        "answer": said,
        "peak": _peak_bytes(serving),
    }


def _judge(found: dict[str, Any]) -> bool:
    served = (found["server"], found["preset"])
    near = all(abs(each["peak"] / found["measured"] - 1) <= MEMORY_REL for each in (*served, found["python"]))
    near &= all(abs(_model_share(found, each)) <= MEMORY_REL for each in served)
    did = all(each["n_prompt"] and each["n_gen"] and each["slots"] == 1 for each in served)
    said = all(each["answer"].strip() for each in (*served, found["python"]))
    return near and did and said and bool(found["cli"])


def _model_share(found: dict[str, Any], served: dict[str, Any]) -> float:
    """Return how far a server's peak is from the measured one, each without the process that has no model."""
    return float((served["peak"] - found["server without a model"]) / found["measured_model"] - 1)


@contextlib.contextmanager
def _server(command: list[str], folder: Path, path: str) -> Iterator[tuple[psutil.Process, str]]:
    """Run a server on a free port until the block ends; it is ready when the block begins."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "server.log").open("a") as log:
        environment = {**os.environ, "PATH": path}
        started = subprocess.Popen([*command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=log)
    url, end = f"http://127.0.0.1:{port}", time.monotonic() + _TIMEOUT_S
    try:
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=5):
                break
            if started.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"parity: {command[0]} did not start; see {folder / 'server.log'}")
            time.sleep(0.2)
        yield psutil.Process(started.pid), url
    finally:
        started.terminate()
        started.wait(_TIMEOUT_S)


def _post(url: str, body: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
        answer: dict[str, Any] = json.load(reply)
    return answer


def _peak_bytes(process: psutil.Process) -> int:
    """Return a process's largest resident size so far; Linux only."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) << 10


def _show(name: str, found: dict[str, Any]) -> None:
    print(f"  {name}: measured {_mib(found['measured'])}, the model alone {_mib(found['measured_model'])}  "
          f"{'ok' if found['ok'] else 'MISSED'}", flush=True)  # fmt: skip
    for program in ("server", "preset", "python", "server by its defaults"):
        each = found[program]
        model = "" if program == "python" else f", the model {_model_share(found, each):+.1%}"
        far = f"{each['peak'] / found['measured'] - 1:+.1%}{model}"
        print(f"    {program}: {_mib(each['peak'])} ({far}), {each['answer']!r}")
    print(f"    server without a model: {_mib(found['server without a model'])}; llama-cli: {found['cli'][-80:]!r}")


def _mib(n_bytes: float) -> str:
    return f"{n_bytes / (1 << 20):.1f} MiB"
