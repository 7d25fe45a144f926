"""Size one model up: its levels by llama.cpp's dry run, its context by llama.cpp's own plan of the buffers.

Runs in a worker process only: llama.cpp is in it.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from profiler.analysis.kv_cache import kv_cache_bytes, layers_of
from profiler.engine import EngineError
from profiler.engine.log import flash_attn_of
from profiler.estimate.bare import write_bare, write_made_up_imatrix
from profiler.estimate.no_alloc_engine import HollowEngine
from profiler.estimate.plans import dry_runs
from profiler.estimate.records import ContextSize, LevelSize, Question, Sizes
from profiler.estimate.repack_sizes import repacked_bytes
from profiler.records.config import RunConfig
from quant.base.errors import UserError
from quant.convert.layout import layout_of_shape
from quant.gguf_io.artifact import artifact_of
from quant.gguf_io.decode_bytes import decode_weight_bytes
from quant.gguf_io.header import GgufHeader, TensorInfo, open_gguf_header
from quant.gguf_io.levels import LEVEL_BY_NAME, levels_asked_by_name, parse_levels
from quant.gguf_io.types import TYPE_BY_NAME
from quant.gguf_io.writer import padded
from quant.quantize.dry_run import Plan

# Looked up by row, or added; never multiplied by. Source: LLM_TENSOR_INFOS in src/llama-arch.cpp.
_NEVER_MULTIPLIED = ("token_embd.", "per_layer_token_embd.", "position_embd.", "token_types.", "rope_f")
_LOG_STEP_BYTES = 10486  # 0.01 MiB
_TIED = "token_embd.weight"
_OUTPUT = "output.weight"
Placing = Callable[[str, tuple[int, ...], bool], int]  # type, dims, by experts -> bytes when repacked, or 0


def size_up(question: Question) -> Sizes:
    """Give the facts of one model.

    Raises:
        UserError: the config is wrong, or llama.cpp does not open a model of it.
    """
    with tempfile.TemporaryDirectory(prefix="slmprof.") as folder:
        if question.path is not None:
            path = Path(question.path)
        else:
            assert question.config is not None
            path = Path(folder) / "bare.gguf"
            try:
                write_bare(layout_of_shape(question.config, standin_for=question.model), path)
            except OSError as error:
                raise UserError(f"cannot write the header of {question.model}: {error.strerror}; free space") from error
        header = open_gguf_header(path)
        facts = artifact_of(header, "")
        contexts = tuple(_context(path, config, header, question.model) for config in question.contexts)
        repack = question.contexts[0].repack
        return Sizes(
            arch=facts.arch,
            n_layer=facts.shape.n_layer if facts.shape else 0,
            n_vocab=facts.shape.n_vocab if facts.shape else 0,
            header_bytes=header.header_bytes if question.path is not None else None,
            weights=facts.weights if question.path is not None else "real",
            standin_for=facts.standin_for if question.path is not None else None,
            standin_family=facts.standin_family,
            contexts=contexts,
            kv_formula_bytes=_formula(header, question.contexts[0], contexts[0].flash_attn),
            levels=tuple(_levels(question, header, Path(folder), repack)),
        )


def _context(path: Path, config: RunConfig, header: GgufHeader, model: str) -> ContextSize:
    engine = HollowEngine()
    try:
        engine.load(path, config)
        engine.open_context(config)
        buffers, caches = engine.buffers(), engine.caches()
        flash_attn = flash_attn_of(engine.log_lines, config.flash_attn)
    except EngineError as error:
        raise UserError(f"llama.cpp does not open {model} so: {error}; check the settings, or its config") from error
    finally:
        engine.close()
    if buffers.compute_bytes is None or not caches:
        raise UserError(
            f"llama.cpp does not tell the buffers of {model}; install the llama-cpp-python that this program asks for"
        )
    return ContextSize(
        n_outputs_max=config.n_outputs_max,
        compute_bytes=buffers.compute_bytes,
        output_bytes=buffers.output_bytes or 0,
        kv_cache_bytes=_unrounded(
            sum(each.n_bytes for each in caches), len(caches), _formula(header, config, flash_attn)
        ),
        flash_attn=flash_attn,
    )


def _unrounded(told: int, n_caches: int, formula: int | None) -> int:
    """Give the formula's bytes where they are what the log rounds: keys and values of each cache to 0.01 MiB."""
    if formula is not None and abs(formula - told) <= n_caches * _LOG_STEP_BYTES:
        return formula
    return told


def _formula(header: GgufHeader, config: RunConfig, flash_attn: bool | None) -> int | None:
    layers = layers_of(header)
    if layers is None:
        return None
    return kv_cache_bytes(layers, config, flash_attn=flash_attn is not False)


def _levels(question: Question, header: GgufHeader, folder: Path, repack: bool) -> list[LevelSize]:
    def placing(kind: str, dims: tuple[int, ...], by_experts: bool) -> int:
        return repacked_bytes(kind, dims, by_experts=by_experts) if repack else 0

    if question.levels is None:
        facts = artifact_of(header, "")
        types = {tensor.name: tensor.type.name for tensor in header.tensors}
        return [level_size(header, facts.level, types, placing)]
    names, by_name = parse_levels(question.levels), levels_asked_by_name(question.levels)
    if question.path is not None and any(tensor.type.is_quantized for tensor in header.tensors):
        raise UserError(f"{question.model} is quantized already; leave -q away, or give the F32, F16 or BF16 file")
    plans = {} if question.always_imatrix else dry_runs(header, names, None)
    needy = [name for name in names if question.always_imatrix or _needs_imatrix(plans[name])]
    with_imatrix: dict[str, Plan | str] = {}
    if needy:
        imatrix = folder / "imatrix.gguf"
        write_made_up_imatrix(header, imatrix)
        with_imatrix = dry_runs(header, needy, imatrix)
    found = []
    for name in names:
        plan = with_imatrix.get(name) or plans[name]
        if isinstance(plan, str):
            if name in by_name:
                found.append(LevelSize(level=name, refusal=plan))
            continue
        level = LEVEL_BY_NAME[name]
        if name not in by_name and level.family == "fp4" and level.main_type not in plan.types.values():
            continue  # for mixtures of experts; here it would be Q8_0 by another name
        found.append(
            level_size(
                header,
                name,
                plan.types,
                placing,
                needs_imatrix=name in plans and _needs_imatrix(plans[name]),
                with_imatrix=name in with_imatrix,
            )
        )
    return found


def _needs_imatrix(plan: Plan | str) -> bool:
    return not isinstance(plan, str) and plan.needs_imatrix


def level_size(
    header: GgufHeader,
    level: str,
    types: dict[str, str],
    placing: Placing,
    *,
    needs_imatrix: bool = False,
    with_imatrix: bool = False,
) -> LevelSize:
    """Add up the tensors of a file whose types are known."""
    tied = not any(tensor.name == _OUTPUT for tensor in header.tensors)
    offset = plain = repacked = largest = work = tensor_bytes = 0
    first: int | None = None
    last = 0
    for tensor in header.tensors:
        kind = types[tensor.name]
        n_bytes = TYPE_BY_NAME[kind].nbytes(tensor.dims)
        tensor_bytes += n_bytes
        copy = _copy_bytes(tensor, kind, placing)
        if tensor.name == _TIED and tied:
            # The output matrix is the embedding once more, and lies where a matrix of its own would.
            repacked += placing(kind, tensor.dims, False)
        if copy:
            repacked += copy
            largest = max(largest, n_bytes)
        else:
            plain += n_bytes
            first = offset if first is None else first
            last = offset + n_bytes
        if len(tensor.dims) > 1:
            work = max(work, tensor.dims[0] * _input_bytes(kind))
        offset += padded(n_bytes)
    return LevelSize(
        level=level,
        needs_imatrix=needs_imatrix,
        with_imatrix=with_imatrix,
        n_params=sum(tensor.n_weights for tensor in header.tensors),
        tensor_bytes=tensor_bytes,
        data_bytes=offset,
        types=dict(sorted(Counter(types.values()).items())),
        plain_bytes=plain,
        mapped_bytes=last - (first or 0),
        repacked_bytes=repacked,
        largest_repacked_bytes=largest,
        decode_weight_bytes=decode_weight_bytes(header, header.text("general.architecture") or "", types),
        n_work_bytes_per_token=work,
    )


def _copy_bytes(tensor: TensorInfo, kind: str, placing: Placing) -> int:
    if len(tensor.dims) < 2 or not tensor.name.endswith(".weight") or tensor.name.startswith(_NEVER_MULTIPLIED):
        return 0
    return placing(kind, tensor.dims, "_exps." in tensor.name)


def _input_bytes(kind: str) -> int:
    """Give the bytes of one value of the other factor, rounded up. Source: vec_dot_type in ggml/src/ggml-cpu."""
    if kind == "f32":
        return 0  # as it is
    return 2 if not TYPE_BY_NAME[kind].is_quantized else 1
