"""LoRA adapters that peft made, merged while the base is read, against peft's own merge_and_unload.

In float64, rounded to float32 at the end, peft's sums are the exact ones, rounded once: ours must be these, bit for
bit. In float32 peft's have errors of their own, since each product, the scaling and the sum are rounded. What they are
apart from ours is printed, in steps of float32 at a tensor's largest value, of which two are allowed, with the share of
equal bits.
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
_MOST_STEPS = 2
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
            "exact": str(folder / name / "exact"),
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
        found = _compare(job, variants()[case.variant].pre)
        findings.append({"what": name, **found})
        told = "; ".join(found["differences"][:5]) or "exact sums rounded once"
        print(
            f"  {name:32} {found['changed']:3} of {found['tensors']:3} tensors changed, {told}; peft's float32 "
            f"within {found['worst']:.2f} steps, {found['equal']:.2%} of the values bit for bit",
            flush=True,
        )
    return not any(each["differences"] for each in findings), findings


def _compare(job: dict[str, Any], pre: str) -> dict[str, Any]:
    base, merged, exact = (Path(job[name]) for name in ("base", "merged", "exact"))
    for path in base.iterdir():  # the tokenizer, and the config as the base has it
        if path.suffix in (".json", ".txt", ".model") and "index" not in path.name:
            for folder in (merged, exact):
                shutil.copy(path, folder)
    plain = _values(open_layout(base, pre=pre))
    ours = _values(open_layout(base, pre=pre, adapter=Path(job["adapter"])))
    theirs, rounded = (_values(open_layout(folder, pre=pre)) for folder in (merged, exact))
    names = ours.keys() & theirs.keys() & rounded.keys()
    differences = [f"{name} not in all" for name in sorted((ours.keys() | theirs.keys() | rounded.keys()) - names)]
    changed = [name for name in names if not np.array_equal(ours[name], plain.get(name))]
    differences += [f"{name} not exact" for name in sorted(names) if not np.array_equal(ours[name], rounded[name])]
    steps = {name: _steps(ours[name], theirs[name]) for name in names}
    differences += [f"{name} by {worst:.1f} steps" for name, worst in steps.items() if worst > _MOST_STEPS]
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
