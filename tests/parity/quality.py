"""Perplexity, KLD and equal top tokens against llama-perplexity, on the same files, text, windows and KV caches.

Levels against F16, F16 with quantized caches against itself with an f16 cache, a level against another with
--reference, and a real trained model with quantized caches at a context of 4096. Caches are as each program makes them
by itself: llama.cpp then uses flash attention, and rotates keys and values where the size of a head is a multiple of
64, unless LLAMA_ATTN_ROT_DISABLE is set.
llama-perplexity keeps the unquantized model's distribution evenly spaced in 16 bits, ours is more exact; on a random
model, whose most probable tokens lie close together, that alone moves some of its equal top tokens.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec

from profiler.cli.quality import measure_quality
from profiler.measure.corpus import default_text
from profiler.quality.session import QualityOptions
from profiler.records.config import F16_CACHE, KvTypes
from profiler.records.quality import QualityRecord
from profiler.results.file import read_results
from quant.sources.prepare import PrepareOptions
from tests.parity.oracle import Oracle
from tests.parity.real import MODELS, fetch_model
from tests.support.checkpoints import SMOLLM2_135M, TRAINED, make_checkpoint

LEVELS = ("F16", "Q8_0", "Q6_K", "Q4_K_M", "Q3_K_S", "Q2_K")
CACHES = (KvTypes("q8_0", "q8_0"), KvTypes("q4_0", "q4_0"))
LEVEL, REFERENCE = "Q4_K_M", "Q8_0"  # with --reference
N_CTX, N_CHUNKS, N_THREADS = 512, 8, 1
LONG_CTX, LONG_CHUNKS = 4096, 2
PPL_REL, KLD_REL, KLD_ABS, SAME_TOP = 1e-3, 1e-2, 1e-6, 0.002
# Of all other figures: their digits end there, and a share of the value.
OTHER_REL, KLD_DIGIT, SHARE_DIGIT = 1e-2, 1.5e-6, 2e-5

_FIGURE = re.compile(
    r"^(Mean PPL\(Q\)|Mean ln\(PPL\(Q\)/PPL\(base\)\)|(?:Mean|Maximum|99.0%|90.0%) +KLD|RMS Δp|Same top p) *: "
    r"*(-?[\d.]+)(?: ± +([\d.]+))?",
    re.MULTILINE,
)
_N_FIGURES = 8  # that this finds
_TRIES = 5  # on a busy machine llama-perplexity can end before all its lines are written
_FINAL = re.compile(r"Final estimate: PPL = ([\d.]+)")


class Theirs(msgspec.Struct, frozen=True, kw_only=True):
    """What llama-perplexity printed; KLD is None of the unquantized file."""

    ppl: float
    kld: float | None = None
    same_top: float | None = None
    others: dict[str, float] = {}  # by our name


def compare_quality(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Score every level of every model with both, and judge by the three bars."""
    print(f"quality against llama-perplexity: {N_CHUNKS} windows of {N_CTX}", flush=True)
    folder = oracle.work / "quality"
    shutil.rmtree(folder, ignore_errors=True)
    random = make_checkpoint(folder / "135m-random", **SMOLLM2_135M)
    findings = []
    for checkpoint in (random, TRAINED):
        findings += _of_model(oracle, checkpoint, folder)
    findings += _of_long_context(oracle, fetch_model(MODELS[0], oracle.work / "real"), folder)
    for row in findings:
        print(
            f"  {row['model']:12} {row['level']:13} perplexity {row['ppl']:12.4f} against {row['their_ppl']:12.4f}, "
            f"KLD {row['kld']:.6f} against {row['their_kld']}, same top {row['same_top']:.4%} against "
            f"{row['their_same_top']}, {len(row['others'])} more figures equal but {row['differing'] or 'none'}  "
            f"{'ok' if row['ok'] else 'MISSED'}"
        )
    return all(row["ok"] for row in findings), findings


def _of_model(oracle: Oracle, checkpoint: Path, folder: Path) -> list[dict[str, Any]]:
    os.environ["SLMPROF_CACHE"] = str(folder / "cache")
    text = folder / "text.txt"
    text.write_bytes(default_text().content.rstrip(b"\n"))  # llama-perplexity takes the last line's end away
    results = folder / f"{checkpoint.name}.jsonl"
    models = folder / "models" / checkpoint.name
    prepare_options = PrepareOptions(levels=",".join(LEVELS), models_dir=models)
    options = QualityOptions(n_ctx=N_CTX, n_chunks=N_CHUNKS, n_threads=N_THREADS)
    assert not measure_quality([str(checkpoint)], prepare_options, results, options, text=text)
    levels = _by_level(results, F16_CACHE)
    files = {level: models / file_name for level, (file_name, _) in levels.items()}
    program, base = _Program(oracle.llama_perplexity, text), folder / "base.logits"
    rows = [
        _judge(checkpoint.name, level, levels[level][1], program.figures(files[level], base, write=level == "F16"))
        for level in LEVELS
    ]
    as_it_is = PrepareOptions(levels=None)
    cached = msgspec.structs.replace(options, caches=CACHES)
    assert not measure_quality([str(files["F16"])], as_it_is, results, cached, text=text)
    for cache in CACHES:
        _, ours = _by_level(results, cache)["F16"]
        rows.append(_judge(checkpoint.name, f"F16 {cache}", ours, program.figures(files["F16"], base, cache=cache)))
    program.figures(files[REFERENCE], base, write=True)
    against = folder / f"{checkpoint.name}-reference.jsonl"
    assert not measure_quality([str(files[LEVEL])], as_it_is, against, options, text=text, reference=files[REFERENCE])
    _, ours = _by_level(against, F16_CACHE)[LEVEL]
    rows.append(_judge(checkpoint.name, f"{LEVEL} - {REFERENCE}", ours, program.figures(files[LEVEL], base)))
    base.unlink()
    return rows


def _of_long_context(oracle: Oracle, gguf: Path, folder: Path) -> list[dict[str, Any]]:
    """Score a file with quantized caches against itself with an f16 cache."""
    text, results = folder / "text.txt", folder / "long.jsonl"
    options = QualityOptions(n_ctx=LONG_CTX, n_chunks=LONG_CHUNKS, n_threads=N_THREADS, caches=CACHES)
    assert not measure_quality([str(gguf)], PrepareOptions(levels=None), results, options, text=text, reference=gguf)
    program, base = _Program(oracle.llama_perplexity, text, LONG_CTX, LONG_CHUNKS), folder / "base.logits"
    program.figures(gguf, base, write=True)
    rows = []
    for cache in CACHES:
        ((level, (_, ours)),) = _by_level(results, cache).items()
        rows.append(_judge("SmolLM2", f"{level} {cache}", ours, program.figures(gguf, base, cache=cache)))
    base.unlink()
    return rows


def _by_level(results: Path, cache: KvTypes) -> dict[str, tuple[str, QualityRecord]]:
    """Return each level's file name and record."""
    found = read_results([results])
    records = [(found.artifacts[each.artifact_sha256], each) for each in found.qualities if each.cache == cache]
    return {artifact.level: (artifact.file_name, record) for artifact, record in records}


class _Program:
    """llama-perplexity on a text."""

    def __init__(self, path: Path, text: Path, n_ctx: int = N_CTX, n_chunks: int = N_CHUNKS) -> None:
        self._path, self._text, self._n_ctx, self._n_chunks = path, text, n_ctx, n_chunks

    def figures(self, model: Path, base: Path, *, write: bool = False, cache: KvTypes = F16_CACHE) -> Theirs:
        """Write the file that others are compared with, or compare with it."""
        command = [str(self._path), "-m", str(model), "-c", str(self._n_ctx), "--chunks", str(self._n_chunks),
                   "-t", str(N_THREADS), "-ctk", cache.type_k, "-ctv", cache.type_v, "--kl-divergence-base", str(base),
                   *(["-f", str(self._text)] if write else ["--kl-divergence"])]  # fmt: skip
        return _theirs(command, write=write)


def _theirs(command: list[str], *, write: bool) -> Theirs:
    said = ""
    for _ in range(_TRIES):
        done = subprocess.run(command, check=True, text=True, capture_output=True)
        said = done.stdout + done.stderr
        if _FINAL.search(said) if write else len(_FIGURE.findall(said)) == _N_FIGURES:
            break
    if write:
        final = _FINAL.search(said)
        assert final is not None, said[-2000:]
        return Theirs(ppl=float(final[1]))
    found = {" ".join(name.split()): (float(value), float(se or 0)) for name, value, se in _FIGURE.findall(said)}
    return Theirs(
        ppl=found["Mean PPL(Q)"][0],
        kld=found["Mean KLD"][0],
        same_top=found["Same top p"][0] / 100,
        others={
            "ppl_se": found["Mean PPL(Q)"][1],
            "kld_se": found["Mean KLD"][1],
            "kld_p90": found["90.0% KLD"][0],
            "kld_p99": found["99.0% KLD"][0],
            "kld_max": found["Maximum KLD"][0],
            "log_ppl_ratio": found["Mean ln(PPL(Q)/PPL(base))"][0],
            "log_ppl_ratio_se": found["Mean ln(PPL(Q)/PPL(base))"][1],
            "dp_rms": found["RMS Δp"][0] / 100,
            "dp_rms_se": found["RMS Δp"][1] / 100,
            "same_top_se": found["Same top p"][1] / 100,
        },
    )


def _others_of(record: QualityRecord) -> dict[str, float]:
    assert record.perplexity is not None
    assert record.divergence is not None
    found = record.divergence
    return {
        "ppl_se": record.perplexity.ppl.se,
        "kld_se": found.kld.se,
        "kld_p90": found.kld_p90,
        "kld_p99": found.kld_p99,
        "kld_max": found.kld_max,
        "log_ppl_ratio": found.log_ppl_ratio.value,
        "log_ppl_ratio_se": found.log_ppl_ratio.se,
        "dp_rms": found.dp_rms.value,
        "dp_rms_se": found.dp_rms.se,
        "same_top_se": found.same_top.se,
    }


def _differing(ours: dict[str, float], theirs: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return the figures that differ by more than their printed digits and a hundredth."""
    return {
        name: (ours[name], value)
        for name, value in theirs.items()
        if abs(ours[name] - value)
        > OTHER_REL * abs(value) + (SHARE_DIGIT if name.startswith(("dp", "same")) else KLD_DIGIT)
    }


def _judge(model: str, level: str, ours: QualityRecord, theirs: Theirs) -> dict[str, Any]:
    assert ours.perplexity is not None
    assert ours.divergence is not None
    ppl, kld, same_top = ours.perplexity.ppl.value, ours.divergence.kld.value, ours.divergence.same_top.value
    ok = abs(ppl - theirs.ppl) <= PPL_REL * theirs.ppl
    if theirs.kld is not None:
        ok &= abs(kld - theirs.kld) <= max(KLD_REL * theirs.kld, KLD_ABS)
    if theirs.same_top is not None:
        ok &= abs(same_top - theirs.same_top) <= SAME_TOP
    differing = _differing(_others_of(ours), theirs.others)
    ok &= not differing
    return {
        "model": model,
        "others": theirs.others,
        "differing": differing,
        "level": level,
        "ppl": ppl,
        "their_ppl": theirs.ppl,
        "kld": kld,
        "their_kld": theirs.kld,
        "same_top": same_top,
        "their_same_top": theirs.same_top,
        "ok": ok,
    }
