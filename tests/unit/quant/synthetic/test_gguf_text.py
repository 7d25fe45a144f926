"""`synthesize` with levels and without: what does not go together; and which sources a stand-in is found for."""

from pathlib import Path

import numpy as np
import pytest

from quant.base.errors import UserError
from quant.convert.families import complete_config, find_family, planned_tensors
from quant.sources.prepare import model_name, shape_config
from quant.sources.registry import load_registry
from quant.sources.resolve import resolve
from quant.synthetic.gguf_worker import N_UNITS, Tile
from tests.support.commandline import parse_example


def refusal_of(line: str) -> str:
    context = parse_example(line)
    with context, pytest.raises(UserError) as refused:
        context.invoke(context.command.callback, **context.params)
    return str(refused.value)


def test_what_does_not_go_together_is_refused() -> None:
    line = refusal_of("slmprof synthesize smollm2-135m -o x.gguf")
    assert line.startswith("-o x.gguf is a GGUF file")
    assert "add -q" in line
    line = refusal_of("slmprof synthesize smollm2-135m --imatrix m -o dir")
    assert "--imatrix" in line
    assert "-q" in line
    line = refusal_of("slmprof synthesize smollm2-135m -q Q8_0,F16 -o x.gguf")
    assert "2 levels" in line
    assert "-o" in line


def test_a_hub_id_that_llama_cpp_cannot_run_has_its_stand_in() -> None:
    source = resolve("Facebook/OPT-125m")
    assert (source.kind, source.repo) == ("hub", "Facebook/OPT-125m")
    assert model_name(source, None) == "opt-125m"
    assert shape_config(source)["model_type"] == "gpt2"
    assert shape_config(source)["slmprof_standin_family"] == "opt"
    assert resolve("HuggingFaceTB/SmolLM2-135M").spec is None


def test_each_tensor_of_any_model_begins_at_a_place_of_its_own() -> None:
    most = 0
    for spec in load_registry().values():
        if spec.supported or spec.standin is not None:
            architecture = spec.architecture if spec.standin is None else spec.standin.architecture
            family = find_family(architecture)
            most = max(most, len(planned_tensors(family, complete_config(family, spec.shape()))))
    assert 300 < most < N_UNITS


def test_a_tile_goes_on_where_it_ends() -> None:
    unit = 1024  # bytes of float32
    base = np.repeat(np.arange(N_UNITS, dtype=np.float32), unit // 4)
    tile = Tile("f32", base.view(np.uint8))
    pieces = tile.pieces(1, 5 * N_UNITS * unit + unit)
    units = np.frombuffer(b"".join(pieces), np.float32)[:: unit // 4]
    assert units.size == 5 * N_UNITS + 1
    assert np.array_equal(np.diff(units) % N_UNITS, np.ones(units.size - 1))
    assert len({int(tile.pieces(n, 4)[0].cast("f")[0]) for n in range(N_UNITS)}) == N_UNITS
    assert min(len(piece) for piece in pieces[:-1]) >= 4 << 20


def test_nothing_is_written_where_a_line_is_refused(tmp_path: Path) -> None:
    refusal_of(f"slmprof synthesize smollm2-135m -q Q8_0,F16 -o {tmp_path}/x.gguf")
    assert list(tmp_path.iterdir()) == []
