"""The sizes of one model: its levels by llama.cpp's dry run, its contexts by llama.cpp's own plan of the buffers.

Runs in a worker process only: llama.cpp is in it.
"""

from pathlib import Path

from profiler.analysis.kv_cache import kv_cache_bytes, layers_of
from profiler.engine import EngineError
from profiler.engine.log import flash_attn_of
from profiler.estimate.header_only import write_header_only
from profiler.estimate.level_sizes import Graph, level_sizes
from profiler.estimate.no_alloc_engine import NoAllocEngine
from profiler.estimate.records import ContextSize, Question, Sizes
from profiler.records.config import RunConfig
from quant.base.errors import UserError
from quant.base.files import write_problem
from quant.convert.layout import layout_of_shape
from quant.convert.vocabulary_kinds import BPE, KINDS, kind_of_shape
from quant.gguf_io.artifact import Shape, artifact_of
from quant.gguf_io.header import GgufHeader, open_gguf_header

_LOG_STEP_BYTES = 10486  # 0.01 MiB


def sizes_of(question: Question) -> Sizes:
    """Return the sizes of one model.

    Raises:
        UserError: the config is wrong, or llama.cpp does not open such a model.
    """
    folder = Path(question.scratch)
    if question.path is not None:
        path = Path(question.path)
    else:
        assert question.config is not None
        path = folder / "header.gguf"
        try:
            write_header_only(layout_of_shape(question.config, standin_for=question.model), path)
        except OSError as error:
            problem = write_problem(error, "set TMPDIR to another folder")
            raise UserError(f"cannot write the header of {question.model}: {problem}") from error
    header = open_gguf_header(path)
    facts = artifact_of(header, "")
    n_vocab = facts.shape.n_vocab if facts.shape else 0
    if question.path is not None:
        vocabulary, n_merges = kind_of(header), header.length("tokenizer.ggml.merges") or 0
    else:
        # Most BPE vocabularies have a merge for nearly every token.
        vocabulary = kind_of_shape(question.config or {})
        n_merges = n_vocab if vocabulary == BPE else 0
    formula = _Formula(header, facts.shape)
    contexts, n_tokens, touched_bytes, graphs = _contexts(path, question, formula)
    return Sizes(
        arch=facts.arch,
        n_ctx_train=facts.shape.n_ctx_train if facts.shape else None,
        n_layer=facts.shape.n_layer if facts.shape else 0,
        n_vocab=n_vocab,
        vocabulary=vocabulary,
        n_merges=n_merges,
        header_bytes=header.header_bytes if question.path is not None else None,
        weights=facts.weights if question.path is not None else "real",
        standin_for=facts.standin_for if question.path is not None else None,
        standin_family=facts.standin_family,
        contexts=tuple(contexts),
        n_tokens=n_tokens,
        touched_bytes=touched_bytes,
        kv_formula_bytes=formula.of(question.contexts[0], contexts[0].flash_attn),
        levels=tuple(level_sizes(question, header, graphs, repack=question.contexts[0].repack)),
    )


def kind_of(header: GgufHeader) -> str:
    """Return the kind of a file's vocabulary."""
    kind = header.text("tokenizer.ggml.model") or ""
    return kind if kind in KINDS else BPE


def _contexts(
    path: Path, question: Question, formula: "_Formula"
) -> tuple[list[ContextSize], int, int | None, list[Graph]]:
    """Return the contexts, and of the first the tokens of the largest batch, what it uses of the buffer, and graphs."""
    engine, sizes, graphs = NoAllocEngine(), [], []
    n_tokens, touched_bytes = 0, None
    try:
        engine.load(path, question.contexts[0])
        for config in question.contexts:
            engine.open_context(config)
            sizes.append(_context_size(engine, config, question.model, formula))
            if config is question.contexts[0]:
                n_tokens, touched_bytes = engine.touched()
                if question.with_graphs:
                    graphs = [Graph(n, engine.nodes(n)) for n in (n_tokens, 1)]
    except EngineError as error:
        raise UserError(
            f"llama.cpp does not open {question.model} with these settings: {error}; check them, or its config"
        ) from error
    finally:
        engine.close()
    return sizes, n_tokens, touched_bytes, [graph for graph in graphs if graph.nodes]


def _context_size(engine: NoAllocEngine, config: RunConfig, model: str, formula: "_Formula") -> ContextSize:
    buffers, caches = engine.buffers(), engine.caches()
    flash_attn = flash_attn_of(engine.log_lines, config.flash_attn)
    if buffers.compute_bytes is None or not caches:
        raise UserError(
            f"llama.cpp does not log the buffers of {model}; install the llama-cpp-python version that slmprof requires"
        )
    return ContextSize(
        n_outputs_max=config.n_outputs_max,
        compute_bytes=buffers.compute_bytes,
        output_bytes=buffers.output_bytes or 0,
        kv_cache_bytes=_unrounded(sum(each.n_bytes for each in caches), len(caches), formula.of(config, flash_attn)),
        flash_attn=flash_attn,
    )


def _unrounded(logged: int, n_caches: int, formula: int | None) -> int:
    """Return the formula's bytes where the log agrees: it rounds keys and values of each cache to 0.01 MiB."""
    if formula is not None and abs(formula - logged) <= n_caches * _LOG_STEP_BYTES:
        return formula
    return logged


class _Formula:
    """The bytes of a model's cache by its shape; None where the header does not list the heads."""

    def __init__(self, header: GgufHeader, shape: Shape | None) -> None:
        self._layers, self._shape = layers_of(header), shape

    def of(self, config: RunConfig, flash_attn: bool | None) -> int | None:
        """Return the bytes with these settings."""
        if self._layers is None or self._shape is None:
            return None
        return kv_cache_bytes(self._layers, config, flash_attn=flash_attn is not False) + self._shape.state_bytes
