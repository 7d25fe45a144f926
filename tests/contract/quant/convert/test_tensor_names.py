"""Which of a checkpoint's tensors are which: prefixes, a missing output matrix, types, adapters, text configs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from quant.base.errors import UserError
from quant.convert.layout import open_layout
from quant.convert.to_gguf import convert
from quant.gguf_io.header import open_gguf_header
from tests.support.checkpoints import decoder_config, make_checkpoint, write_checkpoint

SHAPE = {"hidden": 64, "layers": 2, "dtype": "float16"}
Tensors = dict[str, np.ndarray[Any, Any]]


def _changed(folder: Path, change: Callable[[Tensors], Tensors], **config: Any) -> Path:
    """Write a checkpoint with other tensors, and other keys of its config; a key of None is removed."""
    make_checkpoint(folder, **SHAPE)
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path)
    found = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps({key: value for key, value in found.items() if value is not None}))
    return folder


def _with(prefix: str, *, head: str | None = None) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        made = {prefix + name: values for name, values in tensors.items()}
        return made | ({head: tensors["model.embed_tokens.weight"] + 1} if head else {})

    return change


def _without_model(tensors: Tensors) -> Tensors:
    return {name.removeprefix("model."): values for name, values in tensors.items()}


def _refusal(folder: Path) -> str:
    with pytest.raises(UserError) as error:
        open_layout(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        _with("_orig_mod."),
        _with("module."),
        _with("module._orig_mod."),
        _with("base_model.model."),
        _with("model."),
        _without_model,
        lambda tensors: _with("_orig_mod.")(_without_model(tensors)),
        lambda tensors: {f"transformer.{name}": values for name, values in _without_model(tensors).items()},
    ],
    ids=["compile", "parallel", "both", "peft", "twice", "bare", "compiled-bare", "another"],
)
def test_one_prefix_in_all_names_changes_no_byte(tmp_path: Path, change: Callable[[Tensors], Tensors]) -> None:
    for name, how in (("plain", dict), ("other", change)):
        convert(_changed(tmp_path / name / "c", how), tmp_path / f"{name}.gguf")
    one, other = (open_gguf_header(tmp_path / f"{name}.gguf") for name in ("plain", "other"))
    rows = [sorted((tensor.name, tensor.dims) for tensor in header.tensors) for header in (one, other)]
    assert rows[0] == rows[1]
    values = []
    for name, header in (("plain", one), ("other", other)):
        content = (tmp_path / f"{name}.gguf").read_bytes()
        values.append({t.name: content[t.offset : t.offset + t.nbytes] for t in header.tensors})
    assert values[0] == values[1]


@pytest.mark.parametrize(("prefix", "head"), [("", "lm_head.weight"), ("module.", "module.lm_head.weight")])
def test_the_output_matrix_goes_with_the_model_or_stands_beside_it(tmp_path: Path, prefix: str, head: str) -> None:
    layout = open_layout(_changed(tmp_path / "c", _with(prefix, head=head), tie_word_embeddings=False))
    assert "output.weight" in {job.target for job in layout.jobs}
    assert layout.checkpoint.notes == ()


def test_an_output_matrix_that_is_missing_is_the_embedding_where_llama_cpp_takes_it(tmp_path: Path) -> None:
    layout = open_layout(_changed(tmp_path / "c", dict, tie_word_embeddings=False))
    assert "output.weight" not in {job.target for job in layout.jobs}
    (note,) = layout.checkpoint.notes
    assert "lm_head.weight" in note


def test_an_output_matrix_that_llama_cpp_needs_is_named_with_a_tensor_that_is_there(tmp_path: Path) -> None:
    config = decoder_config("Olmo2ForCausalLM", "olmo2", hidden=64, layers=1, tie=False)
    folder = write_checkpoint(tmp_path / "c", config, dtype="float16")
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path)
    said = _refusal(folder)
    assert "such as lm_head.weight" in said
    assert said.count(".weight") >= 2


def test_names_of_another_kind_are_named_and_the_download_is_not_blamed(tmp_path: Path) -> None:
    def change(tensors: Tensors) -> Tensors:
        return {f"left.{name}" if "layers.0" in name else f"right.{name}": each for name, each in tensors.items()}

    said = _refusal(_changed(tmp_path / "c", change))
    assert "it has right.model.embed_tokens.weight" in said
    assert "download" not in said


def test_an_adapter_that_is_not_merged_is_named(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.q_proj.lora_A.weight"
    said = _refusal(_changed(tmp_path / "c", lambda tensors: tensors | {name: np.zeros((8, 64), np.float16)}))
    assert name in said
    assert "merge" in said


def test_weights_under_the_names_of_a_quantizer_are_quantized(tmp_path: Path) -> None:
    def change(tensors: Tensors) -> Tensors:
        return {
            name.replace("proj.weight", "proj.qweight"): np.zeros((8, 8), np.int32) if "proj" in name else values
            for name, values in tensors.items()
        }

    said = _refusal(_changed(tmp_path / "c", change))
    assert "is I32" in said
    assert "quantized already" in said


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["model.layers.1.self_attn.k_proj.weight", "model.norm.weight"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_values_that_are_no_numbers_are_refused_by_tensor_and_leave_nothing(
    tmp_path: Path, value: float, name: str, dtype: type
) -> None:
    def change(tensors: Tensors) -> Tensors:
        made = {each: values.astype(dtype) for each, values in tensors.items()}
        made[name].reshape(-1)[-1] = value
        return made

    folder = _changed(tmp_path / "c", change)
    with pytest.raises(UserError, match=f"tensor {name} in .* holds {'NaN' if np.isnan(value) else 'an infinite'}"):
        convert(folder, tmp_path / "out" / "m.gguf")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(("outer", "named"), [("llava", False), ("idefics3", False), ("other", True)])
def test_a_text_config_that_omits_its_class_s_defaults_is_completed(tmp_path: Path, outer: str, named: bool) -> None:
    inner: dict[str, Any] = {"num_hidden_layers": 1} | ({"model_type": "llama"} if named else {})
    full = decoder_config(hidden=4096, layers=1, heads=32, kv_heads=32, ffn=11008, vocab=32000)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": outer, "architectures": ["X"], "text_config": inner})
    )
    from quant.convert.families import complete_config, family_of, planned_tensors

    config = json.loads((tmp_path / "config.json").read_text())
    family = family_of(config)
    found, wanted = (planned_tensors(family, complete_config(family, each)) for each in (config, full))
    shapes = [{each.name: each.shape for each in tensors if not each.optional} for tensors in (found, wanted)]
    assert {name: shapes[0][name] for name in shapes[1]} == shapes[1]
    assert msgspec.structs.asdict(family)["arch"] == "llama"
