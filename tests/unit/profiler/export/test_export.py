"""Results in other forms: JSON and CSV of the figures, llama-bench's records of the samples."""

import csv
import io
import json
from typing import Any

import pytest

from profiler.export import flat, llama_bench
from profiler.records.cell_summary import CellSummary
from profiler.records.environment import Device
from quant.base.errors import UserError
from tests.support.cells import artifact
from tests.support.rounds import a_round, no_round, results, sample, with_cell
from tests.support.summaries import environment, failed, summary

# DESIGN §6, word for word.
LLAMA_BENCH = (
    """
build_commit, build_number, cpu_info, gpu_info, backends, model_filename, model_type, model_size,
model_n_params, n_batch, n_ubatch, n_threads, cpu_mask, cpu_strict, poll, type_k, type_v, n_gpu_layers, n_cpu_moe,
split_mode, main_gpu, no_kv_offload, flash_attn, devices, tensor_split, tensor_buft_overrides, load_mode, lazy_mode,
embeddings, no_op_offload, no_host, repack, fit_target, fit_min_ctx, n_prompt, n_gen, n_depth, test_time, avg_ns,
stddev_ns, avg_ts, stddev_ts, samples_ns, samples_ts
""".replace("\n", " ")
    .strip()
    .split(", ")
)

MS = 1_000_000


def test_json_is_a_flat_list_of_objects_with_every_field() -> None:
    cells = json.loads(flat.to_json([summary(flags=("busy", "noisy"), cores=(2, 3)), failed()]))
    assert [list(cell) for cell in cells] == [list(flat.FIELDS)] * 2
    first, broken = cells
    assert (first["decode_tps"], first["repack"], first["flags"]) == (20.0, True, ["busy", "noisy"])
    assert first["cores"] == [2, 3]
    assert (broken["status"], broken["error"], broken["flags"]) == ("failed", "killed", [])


def test_json_has_null_where_nothing_applies() -> None:
    (cell,) = json.loads(flat.to_json([failed()]))
    for name in ("decode_tps", "prefill_tps_lo", "ttft_ms", "model_rss_bytes", "ppl", "utilisation", "label"):
        assert cell[name] is None


def test_json_of_nothing_is_an_empty_list() -> None:
    assert json.loads(flat.to_json([])) == []


def csv_rows(*cells: CellSummary) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(flat.to_csv(cells), newline="")))


def test_csv_has_the_same_fields_and_values() -> None:
    (row,) = csv_rows(summary(flags=("busy", "noisy"), cores=(2, 3)))
    assert list(row) == list(flat.FIELDS)
    assert (row["decode_tps"], row["n_params"], row["repack"]) == ("20.0", "100000000", "true")
    assert (row["flags"], row["cores"]) == ("busy;noisy", "2;3")
    assert (row["ttft_ms"], row["ppl"], row["label"]) == ("", "", "")


def test_csv_of_nothing_is_the_line_of_names() -> None:
    assert flat.to_csv([]) == ",".join(flat.FIELDS) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        " =1+1",
        "\t=1+1",
        "\r=1+1",
        "\n=1+1",
        "\x00=1+1",
        "\uff1d1+1",
        "\uff0b1",
        "\uff201",
    ],
)
def test_a_spreadsheet_does_not_run_a_strangers_text(text: str) -> None:
    (row,) = csv_rows(summary(model=text, error=text))
    assert row["model"].startswith("'")
    assert row["error"] == row["model"]
    assert text.strip("\t\r\n\x00 ") in row["model"]


@pytest.mark.parametrize("text", ["a\r=1+1", "a\n=1+1", "a\x85b", "a\u2028b"])
def test_a_strangers_text_does_not_begin_a_line(text: str) -> None:
    written = flat.to_csv([summary(model=text)])
    assert len(written.splitlines()) == 2
    assert "\r" not in written


def test_commas_and_quotes_are_kept() -> None:
    (row,) = csv_rows(summary(model='a, "b"; c'))
    assert row["model"] == 'a, "b"; c'


def test_a_negative_number_stays_a_number() -> None:
    (row,) = csv_rows(summary(model_rss_bytes=-5))
    assert row["model_rss_bytes"] == "-5"


def two_rows(*rounds: Any, label: str | None = None, **more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    prefill, decode = llama_bench.rows(results(*(rounds or (a_round(),)), **more), label=label)
    return prefill, decode


def test_llama_bench_rows_have_its_fields_in_its_order_and_none_is_null() -> None:
    for row in two_rows():
        assert list(row) == LLAMA_BENCH
        assert None not in row.values()


def test_a_cell_is_a_row_of_prefill_and_a_row_of_decode() -> None:
    prefill, decode = two_rows(with_cell(a_round(), n_threads=2, n_threads_batch=4, n_depth=16))
    assert (prefill["n_prompt"], prefill["n_gen"], prefill["n_depth"], prefill["n_threads"]) == (6, 0, 16, 4)
    assert (decode["n_prompt"], decode["n_gen"], decode["n_depth"], decode["n_threads"]) == (0, 4, 16, 2)


def test_a_requests_decode_stands_behind_its_prompt() -> None:
    prefill, decode = two_rows(with_cell(a_round(), mode="request", n_depth=16))
    assert (prefill["n_depth"], decode["n_depth"]) == (16, 22)


def test_only_what_was_measured_has_a_row() -> None:
    (row,) = llama_bench.rows(results(with_cell(a_round(0, sample(decode_ms=())), n_gen=0)), label=None)
    assert row["n_prompt"] == 6
    (row,) = llama_bench.rows(results(with_cell(a_round(0, sample(prefill_ms=None)), n_prompt=0)), label=None)
    assert row["n_gen"] == 4


def test_the_samples_of_all_rounds_are_one_test() -> None:
    prefill, decode = two_rows(
        a_round(1, sample(60, (10, 20, 30, 40))), a_round(0, sample(50, (25,) * 4), sample(70, (50,) * 4))
    )
    assert prefill["samples_ns"] == [50 * MS, 70 * MS, 60 * MS]  # by round, not as they stand in the file
    assert prefill["samples_ts"] == pytest.approx([120, 6 / 0.07, 100])
    assert decode["samples_ns"] == [100 * MS, 200 * MS, 100 * MS]
    assert prefill["test_time"] == "2025-01-01T00:00:00Z"  # when the first of them began


def test_the_standard_deviation_divides_by_one_less_than_the_samples() -> None:
    prefill, _ = two_rows(a_round(0, sample(50), sample(60), sample(70)))
    assert prefill["avg_ns"] == 60 * MS
    assert prefill["stddev_ns"] == 10 * MS  # sqrt((10² + 0 + 10²) / 2)
    # Rates 120, 100, 85.714: the mean of the rates, not the rate of the mean time.
    assert prefill["avg_ts"] == pytest.approx(101.9048, abs=1e-4)
    assert prefill["stddev_ts"] == pytest.approx(17.2220, abs=1e-4)


def test_one_sample_has_no_deviation() -> None:
    prefill, _ = two_rows()
    assert (prefill["avg_ns"], prefill["stddev_ns"], prefill["stddev_ts"]) == (60 * MS, 0, 0.0)


def test_the_build_is_the_label_or_the_commit_without_dirty() -> None:
    dirty = environment(llama_commit="c0ffee1-dirty")
    rounds = a_round(env_id=dirty.id)
    assert two_rows(rounds, environments=[dirty])[0]["build_commit"] == "c0ffee1"
    assert two_rows(rounds, environments=[dirty], label="my-board")[1]["build_commit"] == "my-board"
    assert two_rows()[0]["build_commit"] == "c0ffee"


def test_the_file_and_the_machine_are_told_as_llama_bench_does() -> None:
    machine = environment(
        devices=(
            Device(name="CPU", description="Cortex-A76", kind="cpu"),
            Device(name="Vulkan0", description="V3D", kind="igpu"),
        )
    )
    file = artifact(file_name="tiny-Q4_0.gguf", level="Q4_0", tensor_bytes=500_000)
    here = {"environments": [machine], "artifacts": [file]}
    row, _ = two_rows(with_cell(a_round(env_id=machine.id), cores=(0, 2), flash_attn="on"), **here)
    assert (row["cpu_info"], row["gpu_info"], row["backends"]) == ("Cortex-A76", "", "CPU")
    assert (row["model_filename"], row["model_type"]) == ("tiny-Q4_0.gguf", "tiny Q4_0")
    assert (row["model_size"], row["model_n_params"]) == (500_000, 940_000)
    assert (row["cpu_mask"], row["flash_attn"], row["devices"]) == ("0x5", 1, "none")
    on_gpu, _ = two_rows(with_cell(a_round(env_id=machine.id), device="gpu", n_gpu_layers=-1), **here)
    assert (on_gpu["gpu_info"], on_gpu["devices"], on_gpu["n_gpu_layers"]) == ("V3D", "auto", -1)
    assert (on_gpu["no_kv_offload"], on_gpu["no_op_offload"]) == (False, 0)


@pytest.mark.parametrize(("asked", "number"), [("auto", -1), ("off", 0), ("on", 1)])
def test_flash_attention_is_a_number(asked: str, number: int) -> None:
    assert two_rows(with_cell(a_round(), flash_attn=asked))[0]["flash_attn"] == number


def test_jsonl_is_one_object_a_line_and_json_a_list() -> None:
    found = results(a_round(0), a_round(1))
    lines = llama_bench.to_jsonl(found, label=None)
    assert lines.endswith("}\n")
    assert [json.loads(line)["n_gen"] for line in lines.splitlines()] == [0, 4]
    assert json.loads(llama_bench.to_json(found, label=None)) == [json.loads(line) for line in lines.splitlines()]


def test_environments_are_not_mixed() -> None:
    other = environment(governor="powersave")
    found = results(a_round(), a_round(env_id=other.id), environments=[environment(), other])
    assert [len(row["samples_ns"]) for row in llama_bench.rows(found, label=None)] == [1, 1, 1, 1]


def test_failed_rounds_are_left_out_and_nothing_at_all_is_an_error() -> None:
    assert [len(row["samples_ns"]) for row in two_rows(a_round(0), no_round(1))] == [1, 1]
    with pytest.raises(UserError, match="no measured cell to export; run slmprof profile first"):
        llama_bench.rows(results(no_round()), label=None)


def test_rounds_without_their_environment_are_refused() -> None:
    with pytest.raises(UserError, match="without their environment line"):
        llama_bench.rows(results(a_round(), environments=[]), label=None)


def test_a_strangers_zeros_are_no_samples() -> None:
    with pytest.raises(UserError, match="no measured cell"):
        llama_bench.rows(results(a_round(0, sample(0, (0, 0)))), label=None)
