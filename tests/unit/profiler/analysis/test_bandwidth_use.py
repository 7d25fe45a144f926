"""What a decoded token reads, and the share of the measured bandwidth that this is."""

from pathlib import Path

import msgspec
import pytest

from profiler.analysis.bandwidth_use import decode_bytes_per_token
from profiler.analysis.summarise import summarise
from profiler.records.cell_summary import EnergyFigures
from profiler.records.round import Buffers, Round
from profiler.tables.speed import render
from quant.gguf_io.artifact import Artifact, Shape
from quant.gguf_io.decode_bytes import decode_weight_bytes, n_params_active
from quant.gguf_io.header import GgufHeader, TensorInfo, Value
from quant.gguf_io.types import TYPE_BY_NAME
from tests.support.cells import artifact
from tests.support.rounds import a_round, results, sample, with_cell
from tests.support.summaries import changed

# --- weights


def header(sizes: dict[str, int], **metadata: Value) -> GgufHeader:
    tensors = tuple(TensorInfo(name, TYPE_BY_NAME["q8_0"], (32, size), 0, size) for name, size in sizes.items())
    keys = {f"llama.{key}": value for key, value in metadata.items()}
    return GgufHeader((Path("m.gguf"),), 3, keys, tensors, 0, 0)


def test_an_untied_embedding_is_only_looked_up() -> None:
    sizes = {"token_embd.weight": 1000, "blk.0.attn_q.weight": 30, "output_norm.weight": 4, "output.weight": 500}
    assert decode_weight_bytes(header(sizes), "llama") == 30 + 4 + 500


def test_a_tied_output_matrix_counts_once() -> None:
    sizes = {"token_embd.weight": 1000, "blk.0.attn_q.weight": 30}
    assert decode_weight_bytes(header(sizes), "llama") == 1000 + 30


def test_tables_of_positions_are_only_looked_up() -> None:
    sizes = {"token_embd.weight": 1000, "position_embd.weight": 700, "per_layer_token_embd.weight": 9000}
    assert decode_weight_bytes(header(sizes), "llama") == 1000


def test_of_a_mixture_only_the_chosen_experts_are_read() -> None:
    sizes = {"token_embd.weight": 1000, "blk.0.ffn_up_exps.weight": 800, "blk.0.ffn_up_shexp.weight": 50}
    found = header(sizes, expert_count=8, expert_used_count=2)
    assert decode_weight_bytes(found, "llama") == 1000 + 200 + 50
    assert n_params_active(found, "llama") == 32 * (1000 + 200 + 50)


# --- the cache

KIB = 1024


def a_file(window: int | None = None, **changes: object) -> Artifact:
    # Two layers of one head of 64: 2 · (64 · 2 + 64 · 2) = 512 bytes of F16 keys and values per token.
    shape = Shape(n_layer=2, n_embd=64, n_vocab=100, n_ctx_train=4096, n_head=1, n_head_kv=(1, 1), head_dim_k=64,
                  head_dim_v=64, sliding_window=window)  # fmt: skip
    return artifact(**({"decode_weight_bytes": 900_000, "shape": shape} | changes))  # type: ignore[arg-type]


def at(depth: int, kv_bytes: int | None, n_ctx: int = 1024, **changes: object) -> Round:
    record = with_cell(a_round(), n_depth=depth, n_ctx=n_ctx, **changes)
    assert record.in_force is not None
    return msgspec.structs.replace(
        record,
        buffers=Buffers(kv_cache_bytes=kv_bytes),
        in_force=msgspec.structs.replace(record.in_force, n_ctx=n_ctx),
        read_ceiling_bytes_per_s=100e6,
    )


def test_the_cache_is_read_as_far_as_it_is_filled_on_average() -> None:
    # Four steps from depth 100 see 101 to 104 tokens.
    found = decode_bytes_per_token(a_file(), at(100, 1024 * 512))
    assert found == pytest.approx(900_000 + 102.5 * 512)


def test_a_request_decodes_after_its_prompt() -> None:
    found = decode_bytes_per_token(a_file(), at(0, 1024 * 512, mode="request", n_prompt=200))
    assert found == pytest.approx(900_000 + 202.5 * 512)


def test_llama_cpp_s_own_size_counts_where_keys_are_compressed() -> None:
    found = decode_bytes_per_token(a_file(shape=None), at(100, 1024 * 70))
    assert found == pytest.approx(900_000 + 102.5 * 70)


def test_inside_the_window_all_layers_read_all_tokens() -> None:
    found = decode_bytes_per_token(a_file(window=128), at(100, 1_000_000))
    assert found == pytest.approx(900_000 + 102.5 * 512)


def test_beyond_the_window_only_the_unlimited_layers_read_all_tokens() -> None:
    # One layer of 256 bytes a token keeps 4096 cells, the other 128 + 512, padded to 768.
    record = at(2000, 256 * 4096 + 256 * 768, n_ctx=4096)
    found = decode_bytes_per_token(a_file(window=128), record)
    assert found == pytest.approx(900_000 + 2002.5 * 256 + 128 * 256)


def test_a_window_that_cannot_be_told_apart_gives_no_figure() -> None:
    assert decode_bytes_per_token(a_file(window=128), at(500, 512 * 512, n_ctx=512)) is None
    assert decode_bytes_per_token(a_file(window=128), at(2000, 9_999_999_999, n_ctx=4096)) is None


def test_what_older_results_do_not_hold_gives_no_figure() -> None:
    assert decode_bytes_per_token(a_file(decode_weight_bytes=None), at(100, 512)) is None
    assert decode_bytes_per_token(a_file(), at(100, None)) is None
    assert decode_bytes_per_token(a_file(window=128), at(100, 512, n_ctx=0)) is None
    assert decode_bytes_per_token(a_file(), msgspec.structs.replace(at(100, 512), buffers=None)) is None


# --- utilisation


def utilisation(*rounds: Round, **changes: object) -> float | None:
    (cell,) = summarise(results(*rounds, artifacts=[a_file(**changes)]))
    return cell.mbu


def test_utilisation_is_tokens_times_bytes_over_the_ceiling() -> None:
    # 40 tokens per second of 952 480 bytes, of 100 MB/s.
    assert utilisation(at(100, 1024 * 512)) == pytest.approx(40 * 952_480 / 100e6)


def test_each_round_is_held_against_its_own_ceiling() -> None:
    other = msgspec.structs.replace(at(100, 1024 * 512), round=1, read_ceiling_bytes_per_s=200e6)
    assert utilisation(at(100, 1024 * 512), other) == pytest.approx(40 * 952_480 * (1 / 100e6 + 1 / 200e6) / 2)


def test_rounds_measured_before_the_ceiling_have_no_say() -> None:
    before = msgspec.structs.replace(
        at(100, 1024 * 512), round=1, read_ceiling_bytes_per_s=None, samples=(sample(decode_ms=(1, 1, 1, 1)),)
    )
    assert utilisation(at(100, 1024 * 512), before) == pytest.approx(40 * 952_480 / 100e6)
    assert utilisation(before) is None


def test_a_gpu_and_a_prefill_have_no_utilisation() -> None:
    assert utilisation(at(100, 1024 * 512, device="gpu")) is None
    prefill = msgspec.structs.replace(at(100, 1024 * 512, n_gen=0), samples=(sample(decode_ms=()),))
    assert utilisation(prefill) is None


# --- the table


def test_the_columns_stand_where_there_is_something_to_tell() -> None:
    files, plain = [a_file()], msgspec.structs.replace(at(100, 1024 * 512), read_ceiling_bytes_per_s=None)
    without = render(summarise(results(plain, artifacts=files)), {})
    assert "bandwidth" not in without
    assert "J/token" not in without
    cell = msgspec.structs.replace(
        summarise(results(at(100, 1024 * 512), artifacts=files))[0],
        energy=EnergyFigures(joules_per_token=0.1234, source="RAPL (CPU packages), read before and after decode"),
    )
    table = render([cell], {})
    assert "| bandwidth | J/token |" in table
    assert "|       38% |   0.123 |" in table
    assert (
        "- bandwidth: MBU of decode, as a share of the read bandwidth at that thread count or the next above." in table
    )
    assert (
        "- J/token: energy of decode, idle power included; source: RAPL (CPU packages), read before and after decode."
        in table
    )
    assert "no J/token" not in table
    lost = changed(cell, joules_per_token=None, energy_reason="decode was too short")
    assert "- no J/token: decode was too short." in render([lost], {})
