"""Quantizing for real: every level, against llama.cpp's own call; what is remembered; what goes wrong."""

import ctypes
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import gguf
import llama_cpp
import numpy as np
import psutil
import pytest

from quant.base import files
from quant.base.errors import UserError
from quant.base.progress import watch
from quant.gguf_io.artifact import describe
from quant.gguf_io.header import open_gguf_header
from quant.quantize import levels_of_gguf as module
from quant.quantize.levels_of_gguf import choose_levels, plans, quantize
from tests.support.ggufs import tiny_gguf, tiny_imatrix
from tests.support.paths import ROOT
from tests.support.quantize_directly import quantize_directly


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLMPROF_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", autouse=True)
def quiet():
    callback = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    yield
    llama_cpp.llama_log_set(ctypes.cast(None, llama_cpp.llama_log_callback), ctypes.c_void_p(0))


def _refusal(call) -> str:
    with pytest.raises(UserError) as error:
        call()
    said = str(error.value)
    assert "\n" not in said
    return said


def _decodes(path: Path) -> bool:
    how = llama_cpp.llama_model_default_params()
    how.use_extra_bufts = False  # the file is tested here, not a CPU's second layout of it
    model = llama_cpp.llama_model_load_from_file(os.fsencode(path), how)
    assert model
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_threads, settings.n_threads_batch = 64, 1, 1
    context = llama_cpp.llama_init_from_model(model, settings)
    tokens = (ctypes.c_int32 * 3)(1, 2, 3)
    status = llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(tokens, 3))
    n_vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (n_vocab,)).copy()
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return status == 0 and bool(np.isfinite(logits).all())


def _data(path: Path) -> dict[str, bytes]:
    content = path.read_bytes()
    return {
        tensor.name: content[tensor.offset : tensor.offset + tensor.nbytes] for tensor in open_gguf_header(path).tensors
    }


# --- every level


def test_every_level_without_imatrix_is_llama_cpps_own_bytes_and_decodes(tmp_path):
    source = tiny_gguf(tmp_path / "tiny-F16.gguf", n_layer=1, n_vocab=300, tokenizer="bpe")
    levels = choose_levels(source, "all")
    asked_for = "Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K"
    assert {*asked_for.split(), "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_M", "TQ1_0", "TQ2_0", "F16", "BF16"} <= set(levels)
    assert not {"Q2_K_S", "IQ3_XXS", "IQ2_M", "IQ1_S", "F32", "MXFP4_MOE"} & set(levels)
    planned = {each.level: each for each in plans(source, levels)}

    made = quantize(source, levels, tmp_path / "out")

    assert [each.level for each in made] == levels
    for each in made:
        assert each.artifact.level == each.level
        types = {tensor.name: tensor.type.name for tensor in open_gguf_header(each.path).tensors}
        assert types == planned[each.level].types
        assert each.artifact.file_bytes <= planned[each.level].file_bytes < each.artifact.file_bytes + 64 * 1024
        assert (each.artifact.weights, each.artifact.fallbacks) == ("synthetic", {})
        assert _decodes(each.path)
        if each.level == "F16":
            assert (each.path, each.cached) == (source, True)
            continue
        assert each.path == tmp_path / "out" / f"tiny-{each.level}.gguf"
        assert not each.cached
        assert 0 <= planned[each.level].file_bytes - each.artifact.file_bytes < 10_000
        quantize_directly(source, tmp_path / "direct.gguf", each.level)
        assert each.path.read_bytes() == (tmp_path / "direct.gguf").read_bytes(), each.level
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        f"tiny-{level}.gguf" for level in levels if level != "F16"
    )


def test_narrow_rows_fall_back_and_it_is_reported(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf", n_embd=64, n_head=2, n_head_kv=2, n_ff=512)
    assert "Q1_0" not in choose_levels(source, "all")  # llama.cpp has no fallback for it
    assert "choose another level" in _refusal(lambda: quantize(source, ["Q1_0"], tmp_path / "out"))

    made = quantize(source, ["Q4_K_M", "Q4_0"], tmp_path / "out")

    # Six matrices of two layers have rows of 64; one attn_v gets more bits, and so does the tied output matrix.
    assert made[0].artifact.fallbacks == {"q4_K -> q5_0": 11, "q6_K -> q8_0": 2}
    assert made[0].artifact.tensor_types == {"f32": 5, "q4_K": 1, "q5_0": 11, "q6_K": 1, "q8_0": 2}
    assert made[1].artifact.fallbacks == {"q6_K -> q8_0": 1}
    assert describe(made[0].path).fallbacks == made[0].artifact.fallbacks
    assert made[0].artifact.bpw > 5.9
    assert _decodes(made[0].path)


def test_the_silent_fallback_of_an_output_matrix_is_told(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf", n_embd=192, n_head=3, n_head_kv=1, tied=False, arch="qwen2")
    found = plans(source, ["Q4_K_M"])[0]
    assert found.types["output.weight"] == "q8_0"
    assert found.fallback_of["output.weight"] == ("q6_K", "q8_0")
    assert found.fallback_of["token_embd.weight"] == ("q4_K", "q5_0")
    assert plans(source, ["Q8_0"])[0].fallbacks == {}
    wide = tiny_gguf(tmp_path / "w.gguf", tied=False)
    assert plans(wide, ["Q4_K_M"])[0].fallbacks == {}


def test_shards_give_what_the_whole_file_gives(tmp_path):
    whole = tiny_gguf(tmp_path / "whole.gguf")
    first = tiny_gguf(tmp_path / "split.gguf", tensors_per_shard=8)
    [one] = quantize(whole, ["Q4_K_M"], tmp_path / "out")
    [other] = quantize(first, ["Q4_K_M"], tmp_path / "out")
    assert other.path.name == "split-Q4_K_M.gguf"
    assert _data(other.path) == _data(one.path)


def test_the_number_of_threads_changes_no_byte(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    [one] = quantize(source, ["Q4_K_M"], tmp_path / "one", n_threads=1)
    shutil.rmtree(tmp_path / "cache")
    [many] = quantize(source, ["Q4_K_M"], tmp_path / "many", n_threads=7)
    assert one.path.read_bytes() == many.path.read_bytes()


def test_progress_counts_tensors_to_the_end(tmp_path):
    seen = []
    source = tiny_gguf(tmp_path / "m.gguf")
    with watch(progress=lambda *what: seen.append(what)):
        quantize(source, ["Q8_0"], tmp_path)
    assert [done for stage, done, _ in seen if stage == "quantize Q8_0"] == list(range(1, 21))
    assert {total for stage, _, total in seen if stage == "quantize Q8_0"} == {20}


# --- what is remembered


def test_the_second_call_does_nothing(tmp_path, monkeypatch):
    source = tiny_gguf(tmp_path / "m.gguf")
    first = quantize(source, ["Q4_0", "F16"], tmp_path / "out")
    before = first[0].path.stat()
    monkeypatch.setattr(module, "run_job", lambda *_: pytest.fail("work was done again"))
    second = quantize(source, ["Q4_0", "F16"], tmp_path / "out")
    assert [each.cached for each in second] == [True, True]
    assert [each.artifact for each in second] == [each.artifact for each in first]
    assert second[0].path.stat().st_mtime_ns == before.st_mtime_ns


def test_another_input_of_the_same_name_is_not_taken_for_it(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf", seed=1)
    [first] = quantize(source, ["Q4_0"], tmp_path / "out")
    tiny_gguf(source, seed=2)
    [second] = quantize(source, ["Q4_0"], tmp_path / "out")
    assert not second.cached
    assert second.artifact.sha256 != first.artifact.sha256
    quantize_directly(source, tmp_path / "direct.gguf", "Q4_0")
    assert second.path.read_bytes() == (tmp_path / "direct.gguf").read_bytes()


@pytest.mark.parametrize("damage", ["removed", "changed", "cut", "foreign"])
def test_an_output_that_is_not_what_it_was_is_made_again(tmp_path, damage):
    source = tiny_gguf(tmp_path / "m.gguf")
    [first] = quantize(source, ["Q4_0"], tmp_path / "out")
    good = first.path.read_bytes()
    if damage == "removed":
        first.path.unlink()
    elif damage == "changed":
        status = first.path.stat()
        first.path.write_bytes(good[:-9] + b"X" + good[-8:])
        os.utime(first.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    elif damage == "cut":
        os.truncate(first.path, len(good) // 2)
    else:
        first.path.write_text("something of the user's")
    [again] = quantize(source, ["Q4_0"], tmp_path / "out")
    assert not again.cached
    assert again.path.read_bytes() == good


def test_a_moved_source_and_output_are_known_by_content(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    quantize(source, ["Q4_0"], tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    moved = source.rename(tmp_path / "elsewhere" / "m.gguf")
    assert quantize(moved, ["Q4_0"], tmp_path / "elsewhere")[0].cached


# --- importance matrices


def _sizes(source: Path) -> dict[str, int]:
    return {
        tensor.name: tensor.dims[0]
        for tensor in open_gguf_header(source).tensors
        if len(tensor.dims) == 2 and tensor.name.startswith("blk.")
    }


def test_levels_that_need_an_imatrix_say_so_before_anything_is_written(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    said = _refusal(lambda: quantize(source, ["Q4_0", "IQ2_XS", "Q2_K_S"], tmp_path / "out"))
    assert "IQ2_XS, Q2_K_S" in said
    assert "--imatrix FILE" in said
    assert not (tmp_path / "out").exists()
    assert [each.needs_imatrix for each in plans(source, ["Q4_0", "IQ2_XS", "IQ3_S", "Q2_K_S"])] == [0, 1, 0, 1]


def test_with_an_imatrix_the_bytes_are_llama_cpps_and_the_file_says_which(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf", n_layer=1, n_ff=256)
    imatrix = tiny_imatrix(tmp_path / "words.gguf", _sizes(source))
    reader = gguf.GGUFReader(imatrix)
    raw = {tensor.name: tensor.data.reshape(-1) for tensor in reader.tensors}
    values = {
        name.removesuffix(".in_sum2"): (data / raw[name.replace(".in_sum2", ".counts")]).astype(np.float32)
        for name, data in raw.items()
        if name.endswith(".in_sum2")
    }
    levels = ["IQ2_XS", "Q2_K_S", "Q4_K_M"]

    made = quantize(source, levels, tmp_path / "out", imatrix=imatrix)

    for each in made:
        quantize_directly(source, tmp_path / "direct.gguf", each.level, values)
        assert _data(each.path) == _data(tmp_path / "direct.gguf"), each.level
        assert each.artifact.imatrix_sha256 == hashlib.sha256(imatrix.read_bytes()).hexdigest()
        metadata = open_gguf_header(each.path).metadata
        assert metadata["quantize.imatrix.file"] == "words.gguf"
        assert metadata["quantize.imatrix.dataset"] == "words.txt"
        assert metadata["quantize.imatrix.entries_count"] == 7
        assert metadata["quantize.imatrix.chunks_count"] == 4
    assert all(each.cached for each in quantize(source, levels, tmp_path / "out", imatrix=imatrix))
    assert not quantize(source, ["Q4_K_M"], tmp_path / "out")[0].cached  # without it, another file


def test_an_imatrix_of_another_model_is_refused(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    wrong = tiny_imatrix(tmp_path / "wrong.gguf", dict.fromkeys(_sizes(source), 128))
    said = _refusal(lambda: quantize(source, ["IQ2_XS"], tmp_path / "out", imatrix=wrong))
    assert "is for another model" in said
    sizes = _sizes(source)
    del sizes["blk.1.attn_q.weight"]
    partial = tiny_imatrix(tmp_path / "partial.gguf", sizes)
    said = _refusal(lambda: quantize(source, ["Q8_0", "IQ2_XS"], tmp_path / "out", imatrix=partial))
    assert "no entry for blk.1.attn_q.weight" in said
    assert not (tmp_path / "out").exists()
    assert not quantize(source, ["Q8_0"], tmp_path / "out", imatrix=partial)[0].cached


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_an_imatrix_with_impossible_values_is_refused(tmp_path, value):
    source = tiny_gguf(tmp_path / "m.gguf")
    imatrix = tiny_imatrix(tmp_path / "bad.gguf", _sizes(source))
    offset = next(t.offset for t in open_gguf_header(imatrix).tensors if t.name.endswith("ffn_up.weight.in_sum2"))
    with imatrix.open("r+b") as file:
        file.seek(offset)
        file.write(np.float32(value).tobytes())
    said = _refusal(lambda: quantize(source, ["IQ2_XS"], tmp_path / "out", imatrix=imatrix))
    assert "damaged entry for blk.0.ffn_up.weight" in said


def test_what_is_no_imatrix_is_refused(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    assert "not an importance matrix" in _refusal(lambda: quantize(source, ["Q8_0"], tmp_path, imatrix=source))
    legacy = tmp_path / "imatrix.dat"
    legacy.write_bytes(bytes(100))
    assert "not an importance matrix" in _refusal(lambda: quantize(source, ["Q8_0"], tmp_path, imatrix=legacy))


def test_groups_leave_out_what_cannot_be_made(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    assert choose_levels(source, "i-quants") == ["IQ4_NL", "IQ4_XS", "IQ3_M", "IQ3_S"]
    assert choose_levels(source, "i-quants,IQ1_S")[-1] == "IQ1_S"
    assert choose_levels(source, "q4_k,F16") == ["Q4_K_M", "F16"]
    imatrix = tiny_imatrix(tmp_path / "words.gguf", _sizes(source))
    assert "IQ1_S" in choose_levels(source, "i-quants", imatrix=imatrix)


# --- what goes wrong


def test_wrong_inputs_are_one_line_and_leave_nothing(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    out = tmp_path / "out"
    assert "there is no level 'Q9'" in _refusal(lambda: quantize(source, ["Q9"], out))
    assert "0 threads" in _refusal(lambda: quantize(source, ["Q8_0"], out, n_threads=0))
    assert "not there" in _refusal(lambda: quantize(tmp_path / "none.gguf", ["Q8_0"], out))
    (tmp_path / "cut.gguf").write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert "truncated" in _refusal(lambda: quantize(tmp_path / "cut.gguf", ["Q8_0"], out))
    (tmp_path / "text.gguf").write_text("hello")
    assert "is not a GGUF file" in _refusal(lambda: quantize(tmp_path / "text.gguf", ["Q8_0"], out))
    assert not out.exists()
    assert "cannot write" in _refusal(lambda: quantize(source, ["Q8_0"], source / "sub"))


def test_a_quantized_file_is_not_quantized_again(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    [made] = quantize(source, ["Q8_0"], tmp_path)
    said = _refusal(lambda: quantize(made.path, ["Q4_0"], tmp_path / "out"))
    assert "already quantized (Q8_0)" in said
    [same] = quantize(made.path, ["Q8_0"], tmp_path / "out")
    assert (same.path, same.cached) == (made.path, True)
    assert not (tmp_path / "out").exists()


def test_the_source_is_never_overwritten(tmp_path):
    source = tiny_gguf(tmp_path / "m-Q8_0.gguf")  # misnamed: it is F16
    before = source.read_bytes()
    assert "is the source itself" in _refusal(lambda: quantize(source, ["Q8_0"], tmp_path))
    assert source.read_bytes() == before


def test_too_small_a_disk_is_told_before_work(tmp_path, monkeypatch):
    source = tiny_gguf(tmp_path / "m.gguf")
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 500_000))
    said = _refusal(lambda: quantize(source, ["Q8_0", "Q4_0"], tmp_path / "out"))
    assert "quantizing to Q8_0, Q4_0 needs" in said
    assert not (tmp_path / "out").exists()


def test_an_abort_in_llama_cpp_is_one_line_with_its_words(tmp_path, monkeypatch):
    add = gguf.GGUFWriter.add_block_count
    monkeypatch.setattr(gguf.GGUFWriter, "add_block_count", lambda self, _: add(self, 600))
    source = tiny_gguf(tmp_path / "m.gguf")
    said = _refusal(lambda: quantize(source, ["Q8_0"], tmp_path / "out"))
    assert "llama.cpp failed" in said
    assert "GGML_ASSERT(hparams.n_layer_all" in said
    assert "/src/" not in said
    assert "GGML_ASSERT" in _refusal(lambda: choose_levels(source, "all"))


def test_an_unknown_architecture_is_one_line(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "nonesuch")
    writer.add_tensor("token_embd.weight", np.zeros((4, 32), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert "nonesuch" in _refusal(lambda: quantize(tmp_path / "m.gguf", ["Q8_0"], tmp_path / "out"))
    assert "nonesuch" in _refusal(lambda: choose_levels(tmp_path / "m.gguf", "all"))


def test_weights_that_are_no_numbers_leave_nothing(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    tensor = next(t for t in open_gguf_header(source).tensors if t.name == "blk.0.attn_q.weight")
    with source.open("r+b") as file:
        file.seek(tensor.offset)
        file.write(np.full(256, np.nan, np.float16).tobytes())
    for level in ("Q4_0", "Q8_0", "Q4_K_M"):  # of these llama.cpp itself takes Q8_0
        assert "tensor blk.0.attn_q.weight in" in _refusal(partial(quantize, source, [level], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_what_a_power_cut_left_is_removed_and_work_in_progress_is_not(tmp_path):
    source = tiny_gguf(tmp_path / "m.gguf")
    stale, fresh, other = (tmp_path / name for name in (".m-Q8_0.gguf.a.part", ".m-Q8_0.gguf.b.part", ".x.part"))
    for path in (stale, fresh, other):
        path.write_text("")
    os.utime(stale, (0, 0))
    os.utime(other, (0, 0))
    quantize(source, ["Q8_0"], tmp_path)
    assert not stale.exists()
    assert fresh.exists()
    assert other.exists()


# --- processes

_CALL = """
import json, sys
from pathlib import Path
from quant.quantize.levels_of_gguf import quantize
made = quantize(Path(sys.argv[1]), sys.argv[3:], Path(sys.argv[2]), n_threads=1)
print(json.dumps([[each.cached, each.artifact.sha256] for each in made]))
"""


def _start(source: Path, out: Path, *levels: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", _CALL, str(source), str(out), *levels],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _slow(tmp_path: Path) -> Path:
    """Return a model that takes a few seconds at IQ3_S on one thread."""
    return tiny_gguf(tmp_path / "m.gguf", n_embd=512, n_layer=6, n_ff=2048, n_vocab=2048)


def _wait_for_writing(process: subprocess.Popen[bytes], out: Path) -> psutil.Process:
    """Wait until the output has begun, and return the process that writes it."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be disturbed"
        if out.is_dir() and any(path.stat().st_size > 0 for path in out.glob(".*.part")):
            return psutil.Process(process.pid).children()[0]
        time.sleep(0.005)
    pytest.fail("nothing was written")


def test_a_killed_worker_leaves_nothing_and_is_reported(tmp_path):
    source, out = _slow(tmp_path), tmp_path / "out"
    process = _start(source, out, "IQ3_S")
    _wait_for_writing(process, out).kill()
    stderr = process.communicate(timeout=30)[1].decode()
    assert "quant.base.errors.UserError" in stderr
    assert "killed from outside" in stderr
    assert list(out.iterdir()) == []


def test_a_killed_parent_leaves_neither_a_worker_nor_a_file(tmp_path):
    source, out = _slow(tmp_path), tmp_path / "out"
    process = _start(source, out, "IQ3_S")
    worker = _wait_for_writing(process, out)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()
    assert list(out.iterdir()) == []
    [made] = quantize(source, ["Q8_0"], out)
    assert not made.cached


def test_two_processes_make_one_file_once(tmp_path):
    source, out = _slow(tmp_path), tmp_path / "out"
    processes = [_start(source, out, "Q4_0") for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    answers = [json.loads(stdout)[0] for stdout, _ in outputs]
    assert sorted(cached for cached, _ in answers) == [False, True]
    assert len({sha256 for _, sha256 in answers}) == 1
    assert [path.name for path in out.iterdir()] == ["m-Q4_0.gguf"]
