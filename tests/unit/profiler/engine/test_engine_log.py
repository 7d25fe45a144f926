"""What is read out of llama.cpp's log. The lines have its form; the numbers are this test's."""

import pytest

from profiler.engine.log import (
    CONTINUED,
    ERROR,
    INFO,
    WARNING,
    Log,
    buffers_of,
    flash_attn_of,
    ignored_of,
    layers_offloaded_of,
)
from profiler.records.config import base_config

MIB = 1 << 20


def test_parts_are_added_up_by_what_they_hold() -> None:
    found = buffers_of(
        [
            "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
            "load_tensors:   CPU_REPACK model buffer size =    40.50 MiB",
            "load_tensors:          AMX model buffer size =     1.50 MiB",
            "llama_context:        CPU  output buffer size =     0.25 MiB",
            "llama_kv_cache:        CPU KV buffer size =    12.00 MiB",
            "llama_kv_cache: size =   12.00 MiB ( 512 cells, 24 layers), K (f16): 6.00 MiB, V (f16): 6.00 MiB",
            "sched_reserve:        CPU compute buffer size =    30.00 MiB",
            "sched_reserve:        CPU compute buffer size =    37.50 MiB",
        ]
    )
    assert found.weights_bytes == 100 * MIB
    assert found.weights_mapped is True
    assert found.repacked_bytes == 42 * MIB
    assert found.device_bytes == 0
    assert found.kv_cache_bytes == 12 * MIB
    assert found.compute_bytes == round(37.5 * MIB)  # reserved again, not added
    assert found.output_bytes == MIB // 4


def test_shards_add_up_and_a_gpu_is_apart() -> None:
    found = buffers_of(
        [
            "load_tensors:   CPU_Mapped model buffer size =   100.00 MiB",
            "load_tensors:   CPU_Mapped model buffer size =    50.00 MiB",
            "load_tensors:        Metal_Mapped model buffer size =    70.00 MiB",
        ]
    )
    assert found.weights_bytes == 150 * MIB
    assert found.device_bytes == 70 * MIB
    assert found.kv_cache_bytes is None


def test_a_silent_log_says_nothing() -> None:
    found = buffers_of([])
    assert (found.weights_bytes, found.repacked_bytes, found.compute_bytes) == (None, None, None)


def test_flash_attention_is_what_was_asked_unless_llama_cpp_decided() -> None:
    assert flash_attn_of([], "on") is True
    assert flash_attn_of([], "off") is False
    assert flash_attn_of([], "auto") is None
    assert flash_attn_of(["resolve_fused_ops: Flash Attention enabled"], "auto") is True
    assert flash_attn_of(["resolve_fused_ops: Flash Attention not supported, set to disabled"], "auto") is False


def test_layers_on_a_gpu() -> None:
    assert layers_offloaded_of(["load_tensors: offloaded 25/25 layers to GPU"]) == 25
    assert layers_offloaded_of([]) == 0


def test_pieces_become_lines_and_the_problem_is_found() -> None:
    log = Log()
    for piece in ("llama_model_load: ", "error loading model: tensor 'x' has wrong shape\n", "done\n"):
        log.feed(piece, ERROR if "error" in piece or "load" in piece else INFO)
    assert list(log.lines) == ["llama_model_load: error loading model: tensor 'x' has wrong shape", "done"]
    assert log.problem() == "error loading model: tensor 'x' has wrong shape"
    assert Log().problem() == "llama.cpp gave no reason"


def test_the_line_that_tells_why_goes_before_the_one_that_only_tells_that() -> None:
    log = Log()
    log.feed("gguf_init_from_reader: failed to read header\n", ERROR)
    log.feed(
        "llama_model_load: error loading model: llama_model_loader: failed to load model from /x/model.gguf\n", ERROR
    )
    log.feed("llama_model_load_from_file_impl: failed to load model\n", ERROR)
    assert log.problem() == "failed to read header"


def test_a_line_that_only_tells_that_is_better_than_none() -> None:
    log = Log()
    log.feed("llama_model_loader: loaded meta data\n")
    log.feed("llama_model_load_from_file_impl: failed to load model\n", ERROR)
    assert log.problem() == "failed to load model"


def test_the_reason_is_the_last_error_of_the_call_that_failed() -> None:
    log = Log()
    log.feed("load_tensors: tensor 'x' cannot be used with preferred buffer type CPU_REPACK\n", WARNING)
    log.feed("load_tensors: failed to guess a name, unknown and missing\n", ERROR)
    log.begin()
    log.feed("llama_context: n_ctx = 64, invalid words in a line of information\n")
    log.feed("llama_init_from_model: quantized V cache requires flash_attn\n", ERROR)
    log.feed("~llama_context: compute buffer is not as expected, failed\n", WARNING)
    assert log.problem() == "quantized V cache requires flash_attn"


def test_a_warning_is_the_reason_where_no_error_was_logged() -> None:
    log = Log()
    log.begin()
    log.feed("decode: failed to find a memory slot for batch of size 8\n", WARNING)
    log.feed("decode: more information about an error\n")
    assert log.problem() == "failed to find a memory slot for batch of size 8"


def test_a_line_in_pieces_has_the_level_of_its_first() -> None:
    log = Log()
    log.feed("context: no memory ", ERROR)
    log.feed("for 3 layers\n", CONTINUED)
    log.feed("and more\n", INFO)
    assert log.problem() == "no memory for 3 layers"


def test_the_reason_of_an_earlier_call_is_not_repeated() -> None:
    log = Log()
    log.feed("decode: failed to allocate graph\n", ERROR)
    log.begin()
    assert log.problem() == "llama.cpp gave no reason"
    log.feed("state_seq_set_data: began\n")
    assert log.problem() == "state_seq_set_data: began"


NOT_LOCKED = "warning: failed to mlock 2097152-byte buffer (after previously locking 0 bytes): Cannot allocate memory"


@pytest.mark.parametrize(
    ("line", "settings", "words"),
    [
        (NOT_LOCKED, {"load_mode": "mlock"}, ["mlock", "2.0 MiB", "Cannot allocate memory", "ulimit -l"]),
        (NOT_LOCKED, {"load_mode": "mmap+mlock"}, ["2.0 MiB"]),
        ("warning: mlock not supported on this system", {"load_mode": "mlock"}, ["cannot lock"]),
        ("init: Falling back to buffered IO due to Invalid argument", {"load_mode": "dio"}, ["Invalid argument"]),
        (
            "llama_init_from_model: flash_attn is not compatible with Grok - forcing off",
            {"flash_attn": "on"},
            ["flash"],
        ),
        ("load_tensors: offloaded 3/25 layers to GPU", {"device": "gpu", "n_gpu_layers": 9}, ["9 layers", "3 are"]),
    ],
)
def test_what_was_requested_and_is_not_in_effect(line: str, settings: dict[str, str], words: list[str]) -> None:
    (found,) = ignored_of(["other", line], base_config(**settings))
    for word in words:
        assert word in found


def test_what_was_not_requested_is_not_missed() -> None:
    lines = [NOT_LOCKED, "flash_attn is not compatible with Grok - forcing off", "offloaded 25/25 layers to GPU"]
    assert ignored_of(lines, base_config()) == ()
    assert ignored_of(["load_tensors: offloaded 9/25 layers to GPU"], base_config(device="gpu", n_gpu_layers=9)) == ()
