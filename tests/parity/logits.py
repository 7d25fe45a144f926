"""transformers on the checkpoint against llama.cpp on our float32 file: next-token logits at every position."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.convert.to_gguf import convert
from quant.convert.tokenizer.vocabulary import is_sentencepiece
from tests.families import Variant, for_oracle, make_variant, variants
from tests.parity.oracle import Oracle, run

_N_TOKENS = 48


def compare_logits(oracle: Oracle, names: list[str]) -> tuple[bool, list[dict[str, Any]]]:
    """Compare all variants; the bar is 1e-3 of the largest minus the smallest logit.

    Where random weights amplify what llama.cpp rounds, transformers computes with its arithmetic as well, and that
    difference must meet the bar; the plain one is reported beside it.
    """
    findings = []
    print("logits against transformers, float32", flush=True)
    drivers, folder = Path(__file__).parent / "drivers", oracle.work / "logits"
    folder.mkdir(exist_ok=True)
    known = [name for name in names if variants()[name].no_logits is None]
    tokens = {name: _tokens(variants()[name]) for name in known}
    for version in sorted({variants()[name].transformers for name in known}):
        jobs = [
            {
                "checkpoint": str(_for_transformers(name, oracle.work / "checkpoints")),
                "tokens": tokens[name],
                "target": str(folder / f"{name}-{side}.npy"),
                "arithmetic": arithmetic,
            }
            for name in known
            if variants()[name].transformers == version
            for side, arithmetic in _sides(variants()[name]).items()
        ]
        listed = folder / "jobs.json"
        listed.write_text(json.dumps(jobs))
        python = oracle.python if version == 4 else oracle.python_5
        run([str(python), str(drivers / "logits.py"), str(listed)], quiet=True)
    for name in names:
        variant = variants()[name]
        if name not in tokens:
            print(f"  {name:26} not by transformers: {variant.no_logits}", flush=True)
            continue
        gguf = oracle.work / "ours" / f"{name}-f32.gguf"
        checkpoint = oracle.work / "checkpoints" / name
        convert(checkpoint, gguf, outtype="f32", pre=None if is_sentencepiece(checkpoint) else variant.pre)
        ids, ours = folder / f"{name}.json", folder / f"{name}-ours.npy"
        ids.write_text(json.dumps(tokens[name]))
        run([sys.executable, str(drivers / "llama_logits.py"), str(gguf), str(ids), str(ours)], quiet=True)
        found = np.load(ours)
        differences = {side: _difference(np.load(folder / f"{name}-{side}.npy"), found) for side in _sides(variant)}
        worst, spread = differences.get("stated", differences["theirs"])
        plain = differences["theirs"][0] / differences["theirs"][1]
        findings.append(
            {
                "variant": name,
                "max_abs_difference": worst,
                "spread": spread,
                "ratio": worst / spread,
                "plain_ratio": plain,
                "tolerance": variant.tolerance,
            }
        )
        stated = f" with llama.cpp's {', '.join(variant.arithmetic)}; plain {plain:.1e}" if variant.arithmetic else ""
        print(
            f"  {name:26} max difference {worst:.2e}, spread {spread:.3f}, ratio {worst / spread:.1e}{stated}",
            flush=True,
        )
    return all(finding["ratio"] <= finding["tolerance"] for finding in findings), findings


def _sides(variant: Variant) -> dict[str, tuple[str, ...]]:
    """Return what of llama.cpp's arithmetic transformers uses, by the names of the files that it writes."""
    return {"theirs": (), "stated": variant.arithmetic} if variant.arithmetic else {"theirs": ()}


def _difference(expected: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, float]:
    """Return the largest difference of the logits, and their spread."""
    worst = np.abs(expected[:, : found.shape[1]] - found[:, : expected.shape[1]]).max()
    return float(worst), float(expected.max() - expected.min())


def _for_transformers(name: str, folder: Path) -> Path:
    """Return a checkpoint that transformers can compute: where it lacks the model, an equivalent of another family."""
    checkpoint, equivalent = for_oracle(name, make_variant(name, folder)), variants()[name].equivalent
    return checkpoint if equivalent is None else equivalent(checkpoint, folder / f"{name}.equivalent")


def _tokens(variant: Variant) -> list[int]:
    n_vocab = variant.config.get("text_config", variant.config)["vocab_size"]
    return list(map(int, np.random.default_rng(7).integers(0, n_vocab, _N_TOKENS)))
