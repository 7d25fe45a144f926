"""Broken GGUF files and importance matrices: whatever opens them in the parent, and in workers what it accepts.

Models, shards and importance matrices go through the readers that `profile`, `quality`, `estimate`, `quantize` and
`convert` have. Of the files that these accept a part is measured, sized up and quantized in forked workers, where
llama.cpp may abort: that must be a failed cell or one line.
"""

import importlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from profiler.analysis.kv_cache import beyond_training, layers_of
from profiler.analysis.memory_need import needed_bytes
from profiler.cli.results import table_of
from profiler.estimate.process import Estimator
from profiler.estimate.records import Question
from profiler.measure.launch import run_worker
from profiler.quality.choose import choose
from profiler.quality.vocabulary import refuse_other_vocabulary
from profiler.records.config import Cell, RunConfig, base_config
from profiler.records.record import Record
from profiler.results.file import read_results
from profiler.sweep.plan import History, Options, Plan
from profiler.sweep.sweep import Sweep
from profiler.sweep.tools import Tools
from quant.base.progress import watch
from quant.gguf_io.artifact import Artifact, describe, open_model
from quant.gguf_io.finite import refuse_not_finite
from quant.gguf_io.imatrix import keys_of, open_imatrix, read_imatrix, zero_rows
from quant.quantize.levels_of_gguf import Quantized, choose_levels, quantize
from quant.sources.prepare import PrepareOptions, prepare
from tests.fuzz.checks import WrongError, check_left, check_line, files_in, time_limit, tried
from tests.fuzz.forked import start_forks
from tests.fuzz.mutations.ggufs import Parts, mutated, put_together, taken_apart
from tests.fuzz.mutations.imatrices import odd_legacy
from tests.support.ggufs import tiny_gguf, tiny_imatrix
from tests.support.rounds import write_lines
from tests.support.summaries import ENVIRONMENT
from tests.support.sweeps import AVAILABLE_BYTES, Seen

_TINY = {"n_embd": 64, "n_layer": 1, "n_ff": 128, "n_vocab": 300, "n_head": 4, "n_head_kv": 2, "n_ctx_train": 256}
_CASE_S = 20.0
_WORKER_S = 10.0
_WORKER_SHARE = 0.02  # of the cases whose file is accepted, for each kind of worker
_CONFIG = base_config(n_prompt=8, n_gen=1, n_ctx=64, n_batch=64)
_NAMES = ("m.gguf", "m.GGUF", "sha256-0123", "m-Q8_0.gguf", "Q8_0.gguf")


class Cases:
    """Small models of several kinds, shards of one, importance matrices."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        models = [
            tiny_gguf(folder / "ids.gguf", synthetic=False, **_TINY),
            tiny_gguf(folder / "bpe.gguf", arch="qwen2", tokenizer="bpe", ftype="BF16", synthetic=False, **_TINY),
            tiny_gguf(folder / "f32.gguf", ftype="F32", tied=False, **_TINY),
        ]
        with watch(say=lambda _line: None):
            (made,) = quantize(models[0], ["Q8_0"], folder)
        models.append(made.path)
        first = tiny_gguf(folder / "shard.gguf", tensors_per_shard=5, **_TINY)
        shards = sorted(folder.glob("shard-*"))
        assert shards[0] == first
        self._rows = {tensor.name: tensor.dims[0] for tensor in open_model(models[0]).tensors if len(tensor.dims) > 1}
        imatrix = tiny_imatrix(folder / "imatrix.gguf", self._rows)
        self._whole = models[2].read_bytes()
        self._models = [taken_apart(path.read_bytes()) for path in models]
        self._shards = [taken_apart(path.read_bytes()) for path in shards]
        self._with_vocabulary = open_model(models[1])
        self._imatrices = [taken_apart(imatrix.read_bytes())]
        self._shard_names = [path.name for path in shards]
        start_forks()
        for module in ("profiler.engine.llama", "profiler.device.memory.reader", "profiler.device.os.system"):
            importlib.import_module(module)  # what workers load, once and before any fork

    def run_case(self, random: Random, scratch: Path) -> Sequence[str]:
        """Write a broken file, and open it in every way."""
        folder = scratch / "area"
        folder.mkdir()
        kind = random.random()
        with time_limit(_CASE_S), watch(say=check_line):
            if kind < 0.25:
                return self._with_imatrix(random, folder)
            return self._with_model(random, folder)

    def _with_imatrix(self, random: Random, folder: Path) -> Sequence[str]:
        path, model = folder / "imatrix.dat", folder / "whole.gguf"
        legacy = random.random() < 0.4
        bases = self._imatrices if random.random() < 0.9 else [*self._imatrices, *self._models]
        path.write_bytes(odd_legacy(self._rows, random) if legacy else mutated(bases, random))
        model.write_bytes(self._whole)
        before, refusals = files_in(folder), list[str]()
        _read_imatrix(path, refusals)
        if not refusals and random.random() < _WORKER_SHARE:
            level = random.choice(("Q8_0", "IQ3_XXS", "Q4_K_M"))
            made = tried(lambda: quantize(model, [level], folder / "out", imatrix=path, n_threads=1), refusals)
            _remove_made(folder / "out", made or ())
        check_left(before, folder)
        return refusals

    def _with_model(self, random: Random, folder: Path) -> Sequence[str]:
        path = self._write_shards(random, folder) if random.random() < 0.15 else folder / random.choice(_NAMES)
        if not path.exists():
            path.write_bytes(mutated(self._models, random))
        before, refusals = files_in(folder), list[str]()
        artifact = _describe(path, refusals, random)
        if artifact is not None:
            tried(lambda: refuse_other_vocabulary(open_model(path), self._with_vocabulary), refusals)
            for work in (_measure, _size_up, _quantize):
                if random.random() < _WORKER_SHARE:
                    work(path, artifact, refusals, random)
        check_left(before, folder)
        return refusals

    def _write_shards(self, random: Random, folder: Path) -> Path:
        """Write shards of which one is broken, and at times another is missing; return the first, or another's path."""
        broken = random.randrange(len(self._shards))
        for place, (name, parts) in enumerate(zip(self._shard_names, self._shards, strict=True)):
            if place != broken and random.random() < 0.05:
                continue
            bases: list[Parts] = [parts]
            (folder / name).write_bytes(mutated(bases, random) if place == broken else put_together(parts))
        return folder / (random.choice(self._shard_names) if random.random() < 0.1 else self._shard_names[0])


def _describe(path: Path, refusals: list[str], random: Random) -> Artifact | None:
    """Open a model's file as every command does; return its facts where it is accepted.

    Raises:
        BaseException: it is neither accepted nor refused, or the ways disagree.
    """
    found = tried(lambda: prepare([str(path)], PrepareOptions(levels=None)), refusals)
    if found is None:
        return None
    artifact, header = found[0].artifact, open_model(path)
    if msgspec.json.decode(msgspec.json.encode(artifact), type=Artifact) != artifact:
        raise WrongError("the record of the file is another when it is read again")
    layers_of(header)
    needed_bytes(artifact, _CONFIG)
    if artifact.shape is not None:
        beyond_training(artifact.model, _CONFIG.n_ctx, artifact.shape.n_ctx_train)
    tried(lambda: refuse_not_finite(header), refusals)
    if random.random() < _WORKER_SHARE:
        tried(lambda: choose(str(path), PrepareOptions(levels=None)), refusals)
        _read_imatrix(path, [])
    return artifact


def _read_imatrix(path: Path, refusals: list[str]) -> None:
    opened = tried(lambda: open_imatrix(path), refusals)
    if opened is not None:
        tried(lambda: read_imatrix(opened), refusals)
        tried(lambda: zero_rows(opened), refusals)
        for key, value in keys_of(opened, "0" * 64).items():
            assert key
            str(value).encode()


def _measure(path: Path, artifact: Artifact, refusals: list[str], random: Random) -> None:
    """Measure one cell, and show the records."""
    config: RunConfig = msgspec.structs.replace(_CONFIG, load_mode=random.choice(("auto", "none")))
    cell = Cell(artifact_sha256=artifact.sha256, config=config)
    records: list[Record] = []
    plan = Plan(
        cells=[cell],
        files={artifact.sha256: (artifact, path)},
        environment=ENVIRONMENT,
        options=Options(rounds=1, reps=1),
        history=History(),
    )
    tools = Tools(
        run=partial(run_worker, timeout_s=_WORKER_S),
        write=records.append,
        available_bytes=lambda: AVAILABLE_BYTES,
        view=Seen(),
    )
    Sweep(plan, tools).run()
    results = write_lines(path.with_name("results.jsonl"), ENVIRONMENT, artifact, *records)  # type: ignore[arg-type]
    table = table_of(read_results([results]))
    results.unlink()
    if not all(line.isprintable() for line in table.split("\n")):
        raise WrongError("the table has characters that control a terminal")
    refusals += [check_line(record.error.message) for record in records if getattr(record, "error", None)]


def _size_up(path: Path, artifact: Artifact, refusals: list[str], random: Random) -> None:
    """Estimate it."""
    question = Question(
        model=path.name, path=str(path), levels=random.choice((None, "Q8_0,Q4_K_M")), contexts=(_CONFIG,)
    )
    with Estimator() as estimator:
        reply = estimator.ask(question, timeout_s=_WORKER_S)
    if reply.refusal is not None:
        refusals.append(check_line(reply.refusal))
    elif reply.failure is not None:
        refusals.append(check_line(reply.failure.message))


def _quantize(path: Path, artifact: Artifact, refusals: list[str], random: Random) -> None:
    """Choose levels by a dry run, and make one."""
    out = path.parent / "out"
    tried(lambda: choose_levels(path, "k-quants"), refusals)
    level = random.choice(("Q8_0", "Q4_K_M", "Q4_0"))
    made = tried(lambda: quantize(path, [level], out, n_threads=1), refusals)
    _remove_made(out, made or ())


def _remove_made(out: Path, made: Sequence[Quantized]) -> None:
    """Open the files that were made and remove them, so that what else is left is found."""
    for each in made:
        describe(each.path)
        if each.path.parent == out:
            each.path.unlink()
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
