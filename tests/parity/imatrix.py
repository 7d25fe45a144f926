"""`slmprof imatrix` against llama-imatrix, and what an importance matrix is worth on weights that mean something."""

import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGUFReader

from profiler.measure.workloads import CORPUS
from quant.base.errors import UserError
from quant.convert.to_gguf import convert
from quant.gguf_io.imatrix_writer import InputSums, write_imatrix
from quant.gguf_io.levels import parse_levels
from quant.quantize.levels_of_gguf import quantize
from tests.parity.oracle import Oracle, run
from tests.support.checkpoints import TRAINED, make_checkpoint

ROOT = Path(__file__).resolve().parents[2]
TEXT = ROOT / "profiler" / "measure" / "workloads" / CORPUS
RELATIVE = 1e-3
LEVELS = ["IQ3_XXS", "Q2_K"]
N_CTX = 512
_KLD = re.compile(r"Mean\s+KLD:\s+([\d.eE+-]+)")


def compare_imatrices(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Run both on the shipped text, for an unquantized file and Q8_0, and quantize with both."""
    print("importance matrices against llama-imatrix", flush=True)
    folder = oracle.work / "imatrix"
    shutil.rmtree(folder, ignore_errors=True)
    os.environ["SLMPROF_CACHE"] = str(folder / "cache")
    checkpoints = {
        "random": make_checkpoint(
            folder / "random", hidden=256, layers=2, heads=4, kv_heads=2, ffn=512, vocab=1024, tie=False
        ),
        "trained": TRAINED,
    }
    findings, passed = [], True
    for name, checkpoint in checkpoints.items():
        whole = folder / f"{name}.gguf"
        convert(checkpoint, whole)
        (eight,) = quantize(whole, ["Q8_0"], folder)
        for path in (whole, eight.path):
            found = _compare(oracle, path)
            held = found["differences"] == [] and found["relative"] <= RELATIVE and found["sizes_equal"]
            held &= found["taken_by_theirs"]
            passed &= held
            findings.append({"model": name, "file": path.name, **found})
            print(
                f"  {path.name:20} {found['n_tensors']} tensors, largest relative difference {found['relative']:.1e}, "
                f"{'; '.join(found['differences']) or 'same names and shapes'}, "
                f"quantized sizes {'equal' if found['sizes_equal'] else 'DIFFER'}, "
                f"llama-quantize makes the same of it: {found['taken_by_theirs']}",
                flush=True,
            )
        if name == "trained":
            worth = _worth(oracle, whole)
            passed &= all(each["with"] < each["without"] for each in worth.values())
            findings.append({"model": name, "worth": worth})
            every = quantize(whole, parse_levels("all"), folder / "all", imatrix=whole.with_suffix(".ours.gguf"))
            print(f"  with it all {len(every)} levels are made", flush=True)
            for level, each in worth.items():
                print(f"  {level:8} mean KLD without {each['without']:.5f}, with {each['with']:.5f}", flush=True)
    return passed, findings


def _ours(model: Path, target: Path) -> None:
    run([sys.executable, "-m", "profiler", "imatrix", str(model), "-o", str(target), "--n-ctx", str(N_CTX),
         "-t", "1", "--process-output"], quiet=True, PYTHONPATH=str(ROOT))  # fmt: skip


def _theirs(oracle: Oracle, model: Path, target: Path) -> None:
    run([str(oracle.llama_imatrix), "-m", str(model), "-f", str(TEXT), "-o", str(target), "-c", str(N_CTX),
         "-ngl", "0", "-t", "1", "--no-ppl", "--process-output"], quiet=True)  # fmt: skip


def _compare(oracle: Oracle, model: Path) -> dict[str, Any]:
    ours, theirs = model.with_suffix(".ours.gguf"), model.with_suffix(".theirs.gguf")
    _ours(model, ours)
    _theirs(oracle, model, theirs)
    mine, yours = GGUFReader(ours), GGUFReader(theirs)
    differences = [
        f"key {key}"
        for key in ("general.type", "imatrix.chunk_count", "imatrix.chunk_size")
        if mine.fields[key].contents() != yours.fields[key].contents()
    ]
    shapes = [{each.name: each.shape.tolist() for each in reader.tensors} for reader in (mine, yours)]
    if list(shapes[0].items()) != list(shapes[1].items()):
        return {
            "n_tensors": len(shapes[1]),
            "differences": ["other tensors"],
            "relative": 1.0,
            "sizes_equal": False,
            "taken_by_theirs": False,
        }
    relative = max(_relative(one.data, other.data) for one, other in zip(mine.tensors, yours.tensors, strict=True))
    folders = [model.parent / f"{model.stem}-{whose}" for whose in ("ours", "theirs")]
    made = [
        quantize(model, LEVELS, folder, imatrix=path) for folder, path in zip(folders, (ours, theirs), strict=True)
    ] if "Q8_0" not in model.name else [[], []]  # fmt: skip
    # The keys hold the importance matrix's own name and hash, so it is the tensors that must be as large.
    sizes = [[each.artifact.tensor_bytes for each in files] for files in made]
    return {
        "n_tensors": len(shapes[1]) // 2,
        "differences": differences,
        "relative": relative,
        "sizes_equal": sizes[0] == sizes[1],
        "taken_by_theirs": all(_taken_by_theirs(oracle, model, ours, each.path) for each in made[0]),
    }


def _taken_by_theirs(oracle: Oracle, model: Path, imatrix: Path, made: Path) -> bool:
    """Return whether llama-quantize, with our matrix, writes the tensors that we write."""
    level, target = made.stem.rpartition("-")[2], made.with_suffix(".theirs.gguf")
    run([str(oracle.llama_quantize), "--imatrix", str(imatrix), str(model), str(target), level, "1"], quiet=True)
    mine, yours = ({each.name: each for each in GGUFReader(path).tensors} for path in (made, target))
    return list(mine) == list(yours) and all(
        one.tensor_type == yours[name].tensor_type and np.array_equal(one.data, yours[name].data)
        for name, one in mine.items()
    )


def _relative(ours: Any, theirs: Any) -> float:
    scale = np.maximum(np.abs(theirs), 1e-30)
    return float((np.abs(ours - theirs) / scale).max())


def _worth(oracle: Oracle, whole: Path) -> dict[str, dict[str, float]]:
    """Return the mean KL divergence from the unquantized model, of files made with and without, by llama.cpp.

    Where llama.cpp makes a level with a matrix only, "without" is one that finds all inputs equally important.
    """
    base = whole.with_suffix(".logits")
    perplexity = [str(oracle.llama_perplexity), "-f", str(TEXT), "-c", str(N_CTX), "-ngl", "0", "-t", "1"]
    run([*perplexity, "-m", str(whole), "--kl-divergence-base", str(base)], quiet=True)
    ours, flat = whole.with_suffix(".ours.gguf"), whole.with_suffix(".flat.gguf")
    _write_flat(ours, flat)
    found = {}
    for level in LEVELS:
        values: dict[str, float] = {}
        for kind, imatrix in (("without", None), ("with", ours)):
            folder = whole.parent / kind
            try:
                (made,) = quantize(whole, [level], folder, imatrix=imatrix)
            except UserError:
                (made,) = quantize(whole, [level], folder, imatrix=flat)
            said = run(
                [*perplexity, "-m", str(made.path), "--kl-divergence-base", str(base), "--kl-divergence"], quiet=True
            )
            match = _KLD.search(said)
            assert match is not None, said[-2000:]
            values[kind] = float(match[1])
        found[level] = values
    return found


def _write_flat(imatrix: Path, target: Path) -> None:
    """Write a matrix for the same tensors in which every input counts the same."""
    tensors = {each.name: each.data for each in GGUFReader(imatrix).tensors}
    sums = {}
    for name, data in tensors.items():
        if name.endswith(".in_sum2"):
            rows = np.atleast_2d(data)
            sums[name.removesuffix(".in_sum2")] = InputSums(np.ones(rows.shape), np.ones(len(rows), np.int64))
    write_imatrix(target, sums, dataset="none", n_chunks=1, n_tokens_per_chunk=N_CTX)
