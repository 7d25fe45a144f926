"""Estimates read back: their ranges, one of each file's load modes, and files that are something else."""

import json
from pathlib import Path
from typing import Any

import pytest

from profiler.export.estimates import read_estimates
from profiler.export.flat import FIELDS
from profiler.records.span import Span
from quant.base.errors import UserError

ESTIMATE: dict[str, Any] = dict.fromkeys(FIELDS) | {
    "kind": "estimated",
    "env_id": "e",
    "model": "m",
    "arch": "qwen2",
    "weights": "real",
    "n_params": 1000,
    "quant": "Q4_0",
    "file_bytes": 700,
    "tensor_bytes": 600,
    "tensor_types": {"q4_0": 3},
    "n_threads": 2,
    "n_threads_batch": 2,
    "flash_attn": True,
    "flash_attn_asked": "auto",
    "load_mode": "mmap",
    "decode_tps": 20.0,
    "decode_tps_lo": 17.0,
    "decode_tps_hi": 24.0,
    "model_rss_bytes": 900,
    "kv_cache_bytes": 100,
}


def written(folder: Path, *estimates: dict[str, Any]) -> Path:
    path = folder / "estimates.json"
    path.write_text(json.dumps(estimates), encoding="utf-8")
    return path


def test_an_estimate_is_a_cell_with_its_ranges_and_the_first_of_its_load_modes(tmp_path: Path) -> None:
    other = {"load_mode": "none", "model_rss_bytes": 1400}
    path = written(tmp_path, ESTIMATE, ESTIMATE | other, ESTIMATE | {"n_threads": 4}, ESTIMATE | {"quant": "Q8_0"})
    first, threads, level = read_estimates([path])
    assert (first.kind, first.artifact.level, first.config.load_mode) == ("estimated", "Q4_0", "mmap")
    assert (first.decode_tps, first.prefill_tps) == (Span(20.0, 17.0, 24.0, "estimate"), None)
    assert first.model_rss_bytes is not None
    assert (first.model_rss_bytes.value, first.memory.kv_cache_bytes, first.config.flash_attn) == (900, 100, "auto")
    assert threads.config.n_threads == 4
    assert threads.artifact.sha256 == first.artifact.sha256 != level.artifact.sha256


@pytest.mark.parametrize(
    "change", [{"kind": "measured"}, {"decode_tps": -1.0}, {"n_params": 0}, {"arch": None}, {"n_threads": "two"}]
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is not the output of slmprof estimate --json") as caught:
        read_estimates([written(tmp_path, ESTIMATE | change)])
    assert "\n" not in str(caught.value)
