"""From sources to estimates: each source becomes a question to the worker, each reply becomes estimates."""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from profiler.estimate.estimate import Estimate, estimates_of
from profiler.estimate.overheads import Overheads
from profiler.estimate.process import ask_all
from profiler.estimate.records import Question, Reply, Sizes
from profiler.records.config import RunConfig
from quant.base.errors import UserError
from quant.sources.prepare import DEFAULT_LEVELS, model_name, shape_config
from quant.sources.resolve import Source

_NO_SIZE = {"bos_token_id", "eos_token_id", "pad_token_id"}  # of a config: fields that no size depends on


class ModelEstimates(msgspec.Struct, frozen=True, kw_only=True):
    """The estimates of one source, or why there are none."""

    model: str
    estimates: tuple[Estimate, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()  # level and reason
    skipped: str | None = None


class EstimateRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to estimate of every model."""

    levels: str | None  # None: the default levels; a GGUF file as it is
    configs: tuple[RunConfig, ...]  # equal except for n_outputs_max
    load_modes: tuple[str, ...]
    always_imatrix: bool = False
    with_graphs: bool = False  # from which speeds are predicted


def question_of(source: Source, request: EstimateRequest) -> Question:
    """Return the question about one source. From a hub only config.json is fetched.

    Raises:
        UserError: the source has no config, or llama.cpp cannot run it and there is no stand-in.
    """
    if source.kind == "gguf":
        assert source.path is not None
        name, config, path, levels = source.path.name, None, str(source.path), request.levels
    else:
        name, config, path = model_name(source, None), shape_config(source), None
        levels = request.levels or DEFAULT_LEVELS
    return Question(
        model=name,
        config=config,
        path=path,
        levels=levels,
        contexts=request.configs,
        always_imatrix=request.always_imatrix,
        with_graphs=request.with_graphs,
    )


def estimate_all(
    sources: Sequence[Source],
    request: EstimateRequest,
    overheads_of: Callable[[str], Overheads],
    *,
    n_processes: int,
) -> list[ModelEstimates]:
    """Return the estimates of each source, in their order.

    Args:
        overheads_of: those of a kind of vocabulary.
    """
    questions: list[Question | ModelEstimates] = []
    for source in sources:
        try:
            questions.append(question_of(source, request))
        except UserError as error:
            questions.append(ModelEstimates(model=source.spec.name if source.spec else source.text, skipped=str(error)))
    replies = _ask_once([each for each in questions if isinstance(each, Question)], n_processes)
    return [
        each if isinstance(each, ModelEstimates) else _estimates_of(each, next(replies), request, overheads_of)
        for each in questions
    ]


def _ask_once(questions: Sequence[Question], n_processes: int) -> Iterator[Reply]:
    """Yield the replies in the questions' order; of models of one shape only the first is asked about.

    A refusal may name the model, so it is no reply for another.
    """
    first: dict[bytes, Question] = {}
    for each in questions:
        first.setdefault(_shape_of(each), each)
    replies = dict(zip(first, ask_all(list(first.values()), n_processes=n_processes), strict=True))
    again = [
        each for each in questions if replies[_shape_of(each)].sizes is None and each is not first[_shape_of(each)]
    ]
    own = {each.model: reply for each, reply in zip(again, ask_all(again, n_processes=n_processes), strict=True)}
    for each in questions:
        yield own.get(each.model) or replies[_shape_of(each)]


def _shape_of(question: Question) -> bytes:
    """Return what the sizes of a model depend on."""
    config = question.config and {key: value for key, value in question.config.items() if key not in _NO_SIZE}
    return msgspec.json.encode(msgspec.structs.replace(question, model="", config=config), order="sorted")


def _estimates_of(
    question: Question, reply: Reply, request: EstimateRequest, overheads_of: Callable[[str], Overheads]
) -> ModelEstimates:
    if reply.sizes is None:
        reason = reply.refusal or f"llama.cpp gave up: {reply.failure.message if reply.failure else 'no reason'}"
        return ModelEstimates(model=question.model, skipped=reason)
    sizes = _marked(question, reply.sizes)
    overheads = overheads_of(sizes.vocabulary)
    estimates = estimates_of(question.model, sizes, request.configs, overheads, load_modes=request.load_modes)
    return ModelEstimates(
        model=question.model,
        estimates=tuple(estimates),
        refused=tuple((level.level, level.refusal) for level in sizes.levels if level.refusal is not None),
    )


def _marked(question: Question, sizes: Sizes) -> Sizes:
    """Mark a stand-in's weights as synthetic, since it has no real ones."""
    if question.config is None or "slmprof_standin_family" not in question.config:
        return sizes
    return msgspec.structs.replace(sizes, standin_for=question.model, weights="synthetic")
