"""LoRA adapters that peft made, merged while the base is read, against peft's own merge_and_unload in float32.

Both sum the same products, and two BLAS do it in different orders from some rank on: a value may differ by one step of
float32 at the tensor's largest value. The share of values whose bits are equal is printed.
"""

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.convert.layout import Layout, open_layout
from quant.convert.row_chunks import chunk_type, read_chunk, row_chunks
from quant.gguf_io.floats import convert_floats
from tests.families import make_variant, variants
from tests.parity.oracle import Oracle, run

Values = dict[str, NDArray[np.float32]]
_CHUNK_ELEMENTS = 1000  # so that a matrix has several chunks


class Case(NamedTuple):
    """An adapter of a variant."""

    variant: str
    options: dict[str, Any]  # of peft's LoraConfig
    model_class: str = "AutoModelForCausalLM"


def _targets(*names: str, **options: Any) -> dict[str, Any]:
    return {"r": 4, "lora_alpha": 16, "target_modules": list(names), **options}


CASES = {
    "two targets": Case("llama-tied-bf16", _targets("q_proj", "v_proj")),
    "all linear": Case("llama-untied-f32", {"r": 8, "lora_alpha": 8, "target_modules": "all-linear"}),
    "rank-stabilized": Case("llama-untied-f32", _targets("q_proj", "down_proj", use_rslora=True, lora_alpha=7)),
    "rank and alpha patterns": Case(
        "llama-untied-f32",
        _targets(
            "q_proj",
            "down_proj",
            "o_proj",
            lora_alpha=7,
            rank_pattern={"down_proj": 9},
            alpha_pattern={"mlp.down_proj": 3, "^model.layers.1.self_attn.q_proj": 5},
        ),
    ),
    "embedding and head whole": Case(
        "llama-untied-f32", _targets("q_proj", modules_to_save=["lm_head", "embed_tokens"])
    ),
    "embedding and head as targets": Case("llama-untied-f32", _targets("embed_tokens", "q_proj", "lm_head")),
    "tied embedding as target": Case("llama-tied-bf16", _targets("embed_tokens")),
    "without the head's class": Case("llama-tied-bf16", _targets("q_proj", "down_proj"), "AutoModel"),
    "Conv1D": Case("gpt2-bare-f32", _targets("c_attn", "c_proj", "c_fc", fan_in_fan_out=True)),
    "Conv1D, embedding and head": Case("gpt2-untied", _targets("wte", "c_attn", "lm_head", fan_in_fan_out=True)),
    "fused by head": Case("gptneox-f16-sharded", _targets("query_key_value", "dense")),
    "fused": Case("phi3-bf16", _targets("qkv_proj", "gate_up_proj")),
    "biases": Case("qwen2-tied", _targets("q_proj", bias="all")),
    "experts": Case("qwen3moe-bf16", _targets("q_proj", "gate_proj", "up_proj", "down_proj")),
    "one expert": Case("qwen3moe-bf16", _targets("experts.1.up_proj")),
}


def compare_adapters(oracle: Oracle) -> tuple[bool, list[dict[str, Any]]]:
    """Merge each adapter on both sides and compare all tensors of the GGUF files."""
    print("LoRA adapters against peft's merge_and_unload", flush=True)
    folder = oracle.work / "adapters"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    jobs = [
        {
            "base": str(make_variant(case.variant, oracle.work / "checkpoints")),
            "adapter": str(folder / name / "adapter"),
            "merged": str(folder / name / "merged"),
            "class": case.model_class,
            "options": case.options,
        }
        for name, case in CASES.items()
    ]
    listed = folder / "jobs.json"
    listed.write_text(json.dumps(jobs))
    driver = Path(__file__).parent / "drivers" / "adapters.py"
    run([str(oracle.python_peft), str(driver), str(listed)], quiet=True, PYTHONPATH="", HF_HUB_OFFLINE="1")
    findings = []
    for (name, case), job in zip(CASES.items(), jobs, strict=True):
        found = _compare(Path(job["base"]), Path(job["adapter"]), Path(job["merged"]), variants()[case.variant].pre)
        findings.append({"what": name, **found})
        told = "; ".join(found["differences"][:5]) or f"within {found['worst']:.2f} steps"
        print(
            f"  {name:32} {found['changed']:3} of {found['tensors']:3} tensors changed, {told}, "
            f"{found['equal']:.2%} of the values bit for bit",
            flush=True,
        )
    return not any(each["differences"] for each in findings), findings


def _compare(base: Path, adapter: Path, merged: Path, pre: str) -> dict[str, Any]:
    for path in base.iterdir():  # the tokenizer, and the config as the base has it
        if path.suffix in (".json", ".txt", ".model") and "index" not in path.name:
            shutil.copy(path, merged)
    plain = _values(open_layout(base, pre=pre))
    ours, theirs = _values(open_layout(base, pre=pre, adapter=adapter)), _values(open_layout(merged, pre=pre))
    differences = [f"{name} only in one" for name in sorted(ours.keys() ^ theirs.keys())]
    changed = [name for name in ours.keys() & theirs.keys() if not np.array_equal(ours[name], plain.get(name))]
    steps = {name: _steps(ours[name], theirs[name]) for name in ours.keys() & theirs.keys()}
    differences += [f"{name} by {worst:.1f} steps" for name, worst in steps.items() if worst > 1]
    return {
        "differences": differences,
        "tensors": len(ours),
        "changed": len(changed),
        "worst": max(steps.values()),
        "equal": min(float(np.mean(ours[name] == theirs[name])) for name in changed),
    }


def _steps(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Return the largest difference, in steps of float32 at the largest value."""
    step = np.spacing(np.abs(theirs).max())
    return float(np.abs(ours.astype(np.float64) - theirs).max() / step)


def _values(layout: Layout) -> Values:
    return {
        job.target: np.concatenate(
            [
                convert_floats(read_chunk(job, *rows), chunk_type(job), "F32")
                for rows in row_chunks(job, _CHUNK_ELEMENTS)
            ]
        )
        for job in layout.jobs
    }
