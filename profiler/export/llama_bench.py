"""llama-bench's records, for tools that read those. One row per test: a prefill row and a decode row per cell.

Its compare script joins on most of these fields and needs every one non-null. Source: tools/llama-bench and
scripts/compare-llama-bench.py of the pinned llama.cpp (fields and their order in DESIGN §6).
"""

import json
import statistics
from collections.abc import Sequence
from typing import Any

import msgspec

from profiler.records.environment import Environment
from profiler.records.round import Round
from profiler.results.file import Results
from quant.base.errors import UserError
from quant.gguf_io.artifact import Artifact

_NS = 1e9
_FLASH = {"auto": -1, "off": 0, "on": 1}


def rows(results: Results, *, label: str | None) -> list[dict[str, Any]]:
    """Return the rows of every cell that has samples.

    Raises:
        UserError: no cell has any.
    """
    made = []
    for every, artifact, environment in results.cells():
        rounds = [record for record in every if record.status == "ok"]
        if not rounds or rounds[0].cell.config.sustain_s:  # which llama-bench does not measure
            continue
        if environment is None:
            raise UserError("the results hold rounds without their environment line; export the whole results file")
        config = rounds[0].cell.config
        prefill = [sample.prefill_ns for record in rounds for sample in record.samples if sample.prefill_ns]
        decode = [took_ns for record in rounds for sample in record.samples if (took_ns := sample.decode_total_ns)]
        tests = (
            _Test(samples_ns=prefill, n_prompt=config.n_prompt, n_gen=0, n_depth=config.n_depth),
            _Test(samples_ns=decode, n_prompt=0, n_gen=config.n_gen, n_depth=config.decode_depth),
        )
        made += [_row(artifact, environment, rounds, label, test) for test in tests if test.samples_ns]
    if not made:
        raise UserError("there is no measured cell to export; run slmprof profile first")
    return made


def to_json(results: Results, *, label: str | None) -> str:
    """Write what llama-bench -o json writes."""
    return json.dumps(rows(results, label=label), indent=2) + "\n"


def to_jsonl(results: Results, *, label: str | None) -> str:
    """Write what llama-bench -o jsonl writes."""
    return "".join(json.dumps(row) + "\n" for row in rows(results, label=label))


class _Test(msgspec.Struct, frozen=True, kw_only=True):
    """What llama-bench calls a test: prefill or decode of a cell, with the times of all repetitions."""

    samples_ns: list[int]
    n_prompt: int
    n_gen: int
    n_depth: int


def _row(
    artifact: Artifact, environment: Environment, rounds: Sequence[Round], label: str | None, test: _Test
) -> dict[str, Any]:
    config = rounds[0].cell.config
    in_force = rounds[0].in_force
    rates = [(test.n_prompt or test.n_gen) * _NS / sample for sample in test.samples_ns]
    gpus = [device.description for device in environment.devices if device.kind in ("gpu", "igpu")]
    cpus = [device.description for device in environment.devices if device.kind == "cpu"]
    # The commit of a build from a release archive carries "-dirty", which the compare script does not know.
    commit = label or environment.llama_commit.removesuffix("-dirty")
    on_gpu = config.device == "gpu"
    mask = sum(1 << core for core in config.cores or ())
    return {
        "build_commit": commit,
        "build_number": 0,
        "cpu_info": ", ".join(cpus) or environment.cpu_model,
        "gpu_info": ", ".join(gpus) if on_gpu else "",
        "backends": ",".join(in_force.backends if in_force else environment.backends),
        "model_filename": artifact.file_name,
        "model_type": f"{artifact.model} {artifact.level}",
        "model_size": artifact.tensor_bytes,
        "model_n_params": artifact.n_params,
        "n_batch": config.n_batch,
        "n_ubatch": config.n_ubatch,
        "n_threads": config.n_threads_batch if test.n_prompt else config.n_threads,
        "cpu_mask": hex(mask),
        "cpu_strict": False,
        "poll": 50,
        "type_k": config.type_k,
        "type_v": config.type_v,
        "n_gpu_layers": config.n_gpu_layers,
        "n_cpu_moe": 0,
        "split_mode": "layer",
        "main_gpu": 0,
        "no_kv_offload": not on_gpu,
        "flash_attn": _FLASH[config.flash_attn],
        "devices": "auto" if on_gpu else "none",
        "tensor_split": "0.00",
        "tensor_buft_overrides": "none",
        "load_mode": config.load_mode,
        "lazy_mode": "off",
        "embeddings": False,
        "no_op_offload": int(not on_gpu),
        "no_host": False,
        "repack": config.repack,
        "fit_target": 0,
        "fit_min_ctx": 0,
        "n_prompt": test.n_prompt,
        "n_gen": test.n_gen,
        "n_depth": test.n_depth,
        "test_time": min(record.started_at for record in rounds),
        "avg_ns": round(statistics.fmean(test.samples_ns)),
        "stddev_ns": round(statistics.stdev(test.samples_ns)) if len(test.samples_ns) > 1 else 0,
        "avg_ts": statistics.fmean(rates),
        "stddev_ts": statistics.stdev(rates) if len(rates) > 1 else 0.0,
        "samples_ns": test.samples_ns,
        "samples_ts": rates,
    }
