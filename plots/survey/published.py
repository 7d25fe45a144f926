"""What the survey published: one Jetson, llama.cpp on CUDA, 4-bit files, 50 tokens in and 50 out.

Source: "Small Language Models: Survey, Measurements, and Insights", arXiv 2409.15790, figures 7, 8, 10 and 11; the
values were read off the vector figures in the authors' repository. They state no repetitions, threads, build or level.
Its parameter counts are llama.cpp's, which count a tied output matrix twice, so sizes come from the registry instead.
"""

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from quant.sources.registry import ModelSpec, load_registry

N_PROMPT = 50  # of the published first tokens
DEVICE = "Jetson Orin NX 16GB"
SOURCE = "arXiv 2409.15790"
LEVELS_MODEL = "Phi-1.5"  # of figure 8
# Where a figure has another name than the survey's list of models.
_ALIASES = {"Bloom-1B1": "Bloom-1.1B", "Qwen-1.8B": "Qwen1-1.8B"}
# llama.cpp's own names for what the figure abbreviates.
_LEVELS = {"FP16": "F16", "Q3_K": "Q3_K_M", "Q5_K": "Q5_K_M"}
_MODULES = {"attention": "attention", "ffn": "FFN", "lm_head": "LM head"}
_PRODUCTS = ("mul_mat_vec_q", "gemm")  # the kernels of matrix products


class PublishedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of figure 7."""

    name: str
    n_params_llama_cpp: float  # with a tied output matrix twice
    ttft_ms: float
    decode_ms: float  # per token
    memory_mib: float


class PublishedLevel(msgspec.Struct, frozen=True, kw_only=True):
    """One level of figure 8, at 50 tokens."""

    level: str
    prefill_ms: float  # of the whole prompt
    decode_ms: float  # per token


@cache
def published_models() -> Mapping[str, PublishedModel]:
    """Return figure 7 by the registry's names."""
    return {
        registered(row["model"]).name: PublishedModel(
            name=row["model"],
            n_params_llama_cpp=float(row["params_m_llama_cpp"]) * 1e6,
            ttft_ms=float(row["first_token_ms"]),
            decode_ms=float(row["decode_ms_per_token"]),
            memory_mib=float(row["memory_mb"]),  # MiB, as figure 11 shows
        )
        for row in _rows("latency")
    }


@cache
def published_levels() -> Mapping[str, PublishedLevel]:
    """Return figure 8 by llama.cpp's names of the levels."""
    ms = {(row["phase"], _LEVELS.get(row["quant"], row["quant"])): float(row["latency_ms"]) for row in _rows("levels")}
    return {
        level: PublishedLevel(level=level, prefill_ms=ms["prefill", level], decode_ms=ms["decode", level])
        for phase, level in ms
        if phase == "prefill"
    }


@cache
def published_shares() -> Mapping[tuple[str, str], Mapping[str, float]]:
    """Return figure 10 by the registry's name and the phase: shares of the modules, and of matrix products."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in _rows("operators"):
        shares = found.setdefault((registered(row["model"]).name, row["phase"]), {})
        if row["part"] in _MODULES:
            shares[_MODULES[row["part"]]] = float(row["percent"]) / 100
        elif row["part"] in _PRODUCTS:
            shares["matrix products"] = shares.get("matrix products", 0.0) + float(row["percent"]) / 100
    return found


@cache
def published_memory() -> Mapping[str, Mapping[str, float]]:
    """Return figure 11 by the registry's names: MiB by part, at a context of 2048."""
    return {
        registered(row["model"]).name: {
            "weights": float(row["model_parameter_mib"]),
            "KV cache": float(row["kv_cache_mib"]),
            "compute buffer": float(row["compute_buffer_mib"]),
            "remainder": float(row["other_mib"]),
        }
        for row in _rows("memory")
    }


def registered(name: str) -> ModelSpec:
    """Return the registry's entry of a model by its name in a figure."""
    wanted = _ALIASES.get(name, name)
    return next(spec for spec in load_registry().values() if spec.survey == wanted)


def _rows(name: str) -> list[dict[str, str]]:
    text = (files("plots.survey") / "published" / f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))
