"""`make bench-estimate`: are estimates right? Three checks, each a table; fails where one is off.

survey   memory by part for the 22 models of figure 11 of arXiv 2409.15790, read off the vector figure in the authors'
         repository (tests/data/survey_fig11b_memory_breakdown.csv): Q4_K_M, n_ctx 2048, flash attention off, room for
         the logits of a whole batch. Its weights from 1 GiB on are GiB times 1000, and rounded to 0.01 GiB. Three of
         its files hold a tied output matrix twice, the embedding then as Q4_K; that is added here. llama.cpp has
         changed since: its compute buffer has up to three rows of activations more for each token, and without flash
         attention OpenELM's values take as much in each layer as in the widest, so its cache is compared with it on.
         Which of OpenELM's layers, of different widths, got the better types went by the order in its file then.
bytes    tensor bytes and types at every level that needs no importance matrix against files that llama.cpp really
         quantized. The source is a file of zeros in the model's whole shape: types and bytes depend on the shape alone.
memory   the peak resident memory against measured ones, mmap on and off, with the workloads' prompts. The files are of
         zeros too, with types by the dry run and a vocabulary of the full size and kind; or those that are given.
"""

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from profiler.analysis.memory_parts import model_rss_of
from profiler.device.environment import probe_backend, read_environment
from profiler.estimate.estimate import estimates_of
from profiler.estimate.overheads import load_overheads
from profiler.estimate.process import Estimator
from profiler.estimate.records import Question, Sizes
from profiler.measure.launch import run_worker
from profiler.measure.worker import Job
from profiler.measure.workloads import find_workload
from profiler.records.config import RunConfig, base_config
from quant.base.errors import UserError
from quant.convert.layout import layout_of_shape
from quant.convert.sparse_gguf import write_sparse_at
from quant.gguf_io.levels import LEVEL_BY_NAME, LEVELS
from quant.gguf_io.types import TYPE_BY_NAME
from quant.quantize.levels_of_gguf import plans, quantize
from quant.sources.registry import load_registry
from tests.benchmarks.memory import config_of

SURVEY = Path(__file__).parent.parent / "data" / "survey_fig11b_memory_breakdown.csv"
_TWICE = ("Qwen1.5-0.5B", "Bloom-560M", "Bloom-1B1")  # the tied matrix
_MIXED_ORDER = "OpenELM"
_WIDTHS = ("hidden_size", "n_embed", "model_dim")  # of the configs
_NAMES = {"Bloom-1B1": "bloom-1.1b", "Qwen-1.8B": "qwen1-1.8b"}  # where the registry's are others
# Ten models of seven families, the smallest of each.
BYTES = ("pythia-70m", "gpt2", "amd-llama-135m", "smollm-135m", "pythia-160m", "gemma-3-270m", "openelm-270m",
         "qwen1.5-0.5b", "qwen2.5-0.5b", "bloom-560m")  # fmt: skip
# Two models each of three vocabularies: 49 and 152 thousand words of BPE, 262 thousand of SentencePiece.
CELLS = (
    *(("smollm2-135m", "Q4_K_M"), ("smollm2-360m", "Q8_0")),
    *(("qwen2-0.5b", "Q4_0"), ("qwen3-0.6b", "Q4_K_M")),
    *(("gemma-3-270m", "Q4_K_M"), ("gemma-3-1b", "Q4_K_M")),
)
_N_GEN = 4  # tokens that are decoded: one batch is as large as the next
_MIB = 1 << 20
_MOST = 0.04  # of the measured memory
_MOST_WEIGHTS, _MOST_COMPUTE = 0.001, 0.05


def _config(n_outputs_max: int, n_ctx: int, flash_attn: str = "auto") -> RunConfig:
    plain = config_of(False, True, n_outputs_max, n_prompt=512, n_ctx=n_ctx, n_threads=1)
    return msgspec.structs.replace(plain, flash_attn=flash_attn)


def _shape(model: str) -> dict[str, object]:
    return load_registry()[model].shape()


def _sizes(estimator: Estimator, question: Question) -> Sizes:
    reply = estimator.ask(question)
    if reply.sizes is None:
        raise RuntimeError(f"{question.model}: {reply.refusal or reply.failure}")
    return reply.sizes


def survey(estimator: Estimator) -> bool:
    """Print the survey's parts next to ours."""
    print("| model | KV survey | ours | weights survey | ours | off % | compute survey | ours | off % |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    right = True
    by_name = {spec.survey: name for name, spec in load_registry().items() if spec.survey}
    for row in csv.DictReader(SURVEY.open(encoding="utf-8")):
        name = _NAMES.get(row["model"]) or by_name[row["model"]]
        question = Question(model=name, config=_shape(name), levels="Q4_K_M", contexts=(_config(0, 2048, "off"),))
        sizes = _sizes(estimator, question)
        compute, weights = sizes.contexts[0].compute_bytes / _MIB, sizes.levels[0].tensor_bytes / _MIB
        width = next(int(str(_shape(name)[key])) for key in _WIDTHS if key in _shape(name))
        if row["model"] in _TWICE:
            weights += TYPE_BY_NAME["q4_K"].nbytes((width, sizes.n_vocab)) / _MIB
        if row["model"].startswith(_MIXED_ORDER):
            sizes = _sizes(estimator, msgspec.structs.replace(question, contexts=(_config(0, 2048, "on"),)))
        kv = sizes.contexts[0].kv_cache_bytes / _MIB
        told = float(row["model_parameter_mib"])
        in_gib = told >= 1024
        told = told * 1024 / 1000 if in_gib else told
        rounding = 0.005 * 1024 / told if in_gib else 0.0
        off, off_compute = weights / told - 1, compute / float(row["compute_buffer_mib"]) - 1
        print(
            f"| {row['model']} | {row['kv_cache_mib']} | {kv:.1f} | {told:.1f} | {weights:.1f} | {100 * off:+.2f} "
            f"| {row['compute_buffer_mib']} | {compute:.1f} | {100 * off_compute:+.1f} |"
        )
        right &= round(kv, 1) == float(row["kv_cache_mib"])
        right &= abs(off) <= _MOST_WEIGHTS + rounding or row["model"].startswith(_MIXED_ORDER)
        more_rows = 3 * 512 * width * 4 / _MIB
        right &= abs(off_compute) <= _MOST_COMPUTE or 0 < compute - float(row["compute_buffer_mib"]) <= more_rows
    return right


def quantized_bytes(estimator: Estimator, models: Sequence[str], levels: str, work: Path) -> bool:
    """Quantize files of zeros and compare."""
    print("| model | levels | tensors | equal to the byte | off |\n|---|---:|---:|---:|---|")
    right = True
    for model in models:
        question = Question(model=model, config=_shape(model), levels=levels, contexts=(_config(1, 512),))
        sizes = _sizes(estimator, question)
        layout = layout_of_shape(_shape(model), standin_for=model)
        source = work / f"{model}-F16.gguf"
        write_sparse_at(layout, source, layout.keys_without_vocabulary, layout.types_at("F16"), 1)
        # The source's own level is taken as it is; the other 16-bit level would be made from F16, not from BF16.
        compared = [each for each in sizes.levels if not each.needs_imatrix and LEVEL_BY_NAME[each.level].ftype != 1]
        wrong = []
        for each in compared:
            try:
                made = quantize(source, [each.level], work)[0]
            except UserError:
                # What llama.cpp does not make of this shape, the estimate has to refuse as well.
                wrong += [each.level] if each.refusal is None else []
                continue
            if (made.artifact.tensor_bytes, made.artifact.tensor_types) != (each.tensor_bytes, each.types):
                wrong.append(each.level)
            made.path.unlink()
        source.unlink()
        print(
            f"| {model} | {len(compared)} | {len(layout.jobs)} | {len(compared) - len(wrong)} | {' '.join(wrong)} |",
            flush=True,
        )
        right &= not wrong
    return right


def _zeros(cells: Sequence[tuple[str, str]], work: Path) -> Iterator[tuple[Question, Path]]:
    for model, level in cells:
        layout = layout_of_shape(_shape(model), standin_for=model)
        path, source = work / "zeros.gguf", work / "source.gguf"
        write_sparse_at(layout, source, layout.keys_without_vocabulary, layout.types_at("F16"), 1)
        types = plans(source, [level])[0].types
        write_sparse_at(layout, path, layout.keys, types, LEVEL_BY_NAME[level].ftype)
        yield Question(model=model, config=_shape(model), levels=level, contexts=()), path


def _configs(workload: str) -> tuple[RunConfig, ...]:
    """Return the settings by which `profile` runs a workload."""
    load = find_workload(workload)
    config = base_config(
        mode=load.mode,
        workload=load.name,
        n_prompt=load.n_prompt,
        n_gen=_N_GEN,
        n_ctx=load.n_ctx or load.n_prompt + load.n_gen,
        n_outputs_max=1 if load.mode == "request" else 0,
        load_mode="none",
    )
    return (config,)


def memory(
    estimator: Estimator,
    cells: Sequence[tuple[str, str]],
    files: Sequence[Path],
    workloads: Sequence[str],
    work: Path,
) -> bool:
    """Measure the peak of each cell and compare."""
    env_id = read_environment(probe_backend()).id
    print("| model | level | vocabulary | workload | mmap | estimated MiB | measured MiB | off % |")
    print("|---|---|---|---|---|---:|---:|---:|")
    right = True
    given = ((Question(model=file.stem, path=str(file), levels=None, contexts=()), file) for file in files)
    for question, path in given if files else _zeros(cells, work):
        for workload in workloads:
            configs = _configs(workload)
            sizes = _sizes(estimator, msgspec.structs.replace(question, contexts=configs))
            overheads = load_overheads(env_id, sizes.vocabulary)
            for each in estimates_of(question.model, sizes, configs, overheads, load_modes=("mmap", "none")):
                answer = run_worker(Job(path=str(path), config=each.config, reps=0, seed=0), timeout_s=1800)
                if answer.measured is None:
                    raise RuntimeError(f"{question.model} {each.level.level}: {answer.failure}")
                measured = model_rss_of(answer.measured.memory) or 0
                off = each.model_rss_bytes / measured - 1
                print(
                    f"| {question.model} | {each.level.level} | {sizes.vocabulary}, {sizes.n_vocab:,} | {workload} "
                    f"| {'on' if each.config.load_mode == 'mmap' else 'off'} | {each.model_rss_bytes / _MIB:.1f} "
                    f"| {measured / _MIB:.1f} | {100 * off:+.2f} |",
                    flush=True,
                )
                right &= abs(off) <= _MOST
    return right


def main() -> int:
    """Print the requested parts; return 1 where something is off by more than is allowed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["survey", "bytes", "memory"], help="all three without it")
    parser.add_argument("files", nargs="*", type=Path, help="GGUF files for memory, instead of files of zeros")
    parser.add_argument("--models", default=",".join(BYTES), help="of bytes")
    parser.add_argument("--levels", default=",".join(each.name for each in LEVELS if each.can_write))
    parser.add_argument("--cells", help="of memory, like qwen2-0.5b:Q4_0")
    parser.add_argument("--workloads", default="bench,chat,survey", help="of memory")
    parser.add_argument("--work", type=Path, help="where the files are made and removed; it needs room for one")
    options = parser.parse_args()
    cells = tuple(tuple(each.split(":")) for each in options.cells.split(",")) if options.cells else CELLS
    estimator, right = Estimator(), True
    with tempfile.TemporaryDirectory(dir=options.work) as folder:
        if options.what in (None, "survey"):
            right &= survey(estimator)
        if options.what in (None, "bytes"):
            right &= quantized_bytes(estimator, options.models.split(","), options.levels, Path(folder))
        if options.what in (None, "memory"):
            right &= memory(estimator, cells, options.files, options.workloads.split(","), Path(folder))
    estimator.close()
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
