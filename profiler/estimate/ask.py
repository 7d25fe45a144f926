"""From what the user typed to estimates: sources and the registry become questions, replies become estimates."""

from collections.abc import Callable, Sequence

import msgspec

from profiler.estimate.estimate import Estimate, estimates_of
from profiler.estimate.overheads import Overheads
from profiler.estimate.process import ask_all
from profiler.estimate.records import Question, Reply, Sizes
from profiler.records.config import RunConfig
from quant.base.errors import UserError
from quant.sources.prepare import model_name, shape_config
from quant.sources.resolve import Source


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one source: its estimates, or why there are none."""

    model: str
    n_params: int | None = None
    estimates: tuple[Estimate, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()  # level and reason
    skipped: str | None = None


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What every model is asked for."""

    levels: str | None  # None: the default levels; a GGUF file as it is
    default_levels: str
    configs: tuple[RunConfig, ...]  # the same but for n_outputs_max
    load_modes: tuple[str, ...]
    always_imatrix: bool = False


def question_of(source: Source, wish: Wish) -> Question:
    """Ask about one source. Of a hub only config.json is fetched.

    Raises:
        UserError: the source has no config, or llama.cpp cannot run it and nothing stands in for it.
    """
    if source.kind == "gguf":
        assert source.path is not None
        name, config, path, levels = source.path.name, None, str(source.path), wish.levels
    else:
        name, config, path = model_name(source, None), shape_config(source), None
        levels = wish.levels or wish.default_levels
    return Question(
        model=name,
        config=config,
        path=path,
        levels=levels,
        contexts=wish.configs,
        always_imatrix=wish.always_imatrix,
    )


def find_all(
    sources: Sequence[Source],
    wish: Wish,
    overheads: Overheads,
    *,
    n_processes: int,
    tell: Callable[[str, int, int], None] = lambda name, done, total: None,
) -> list[Found]:
    """Give what comes of each source, in their order."""
    asked: list[Question | Found] = []
    for source in sources:
        try:
            asked.append(question_of(source, wish))
        except UserError as error:
            asked.append(Found(model=source.spec.name if source.spec else source.text, skipped=str(error)))
    questions = [each for each in asked if isinstance(each, Question)]
    replies = ask_all(questions, n_processes=n_processes, on_reply=lambda done, total: tell("estimate", done, total))
    return [each if isinstance(each, Found) else _found(each, next(replies), wish, overheads) for each in asked]


def _found(question: Question, reply: Reply, wish: Wish, overheads: Overheads) -> Found:
    if reply.sizes is None:
        reason = reply.refusal or f"llama.cpp gave up: {reply.failure.message if reply.failure else 'no reason'}"
        return Found(model=question.model, skipped=reason)
    sizes = _marked(question, reply.sizes)
    estimates = estimates_of(question.model, sizes, wish.configs, overheads, load_modes=wish.load_modes)
    return Found(
        model=question.model,
        n_params=next((each.level.n_params for each in estimates), None),
        estimates=tuple(estimates),
        refused=tuple((level.level, level.refusal) for level in sizes.levels if level.refusal is not None),
    )


def _marked(question: Question, sizes: Sizes) -> Sizes:
    """Mark a stand-in as synthetic, which is all that it can be; of another shape no weights are made up."""
    if question.config is None or "slmprof_standin_family" not in question.config:
        return sizes
    return msgspec.structs.replace(sizes, standin_for=question.model, weights="synthetic")
