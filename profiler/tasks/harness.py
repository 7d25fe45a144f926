"""lm-evaluation-harness: its tasks, prompts, metrics and choice of examples, as they are. The only importer of lm_eval.

Runs in a process of its own. What the harness would fetch as code and run is refused: metrics of `evaluate`, templates
that reach into Python. Its report on git, packages and the machine is never made.
Source: simple_evaluate and evaluate in lm_eval/evaluator.py of lm_eval 0.4.13.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from profiler.records.task import TaskItems, TaskMetric
from profiler.tasks.messages import Ask, Continue, HarnessOptions, Pair, Reply
from profiler.tasks.sets import OFFLINE_FOLDER, folders_of, is_offline
from profiler.tasks.task_files import with_absolute_data
from quant.base.errors import UserError

_SEED = 1234  # of the examples before a question; the harness's own default, with which published figures are made
_BOOTSTRAP_ITERS = 1000  # of metrics whose standard error has no formula
_N_NEW = 256  # tokens that are generated where a task sets no limit, as in the harness
_LIMIT_NAMES = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
# The metric that stands for a task, the first of these that it has: the one that is published most.
_MAIN_METRICS = ("acc_norm", "acc", "exact_match", "math_verify", "pass@1", "f1", "word_perplexity", "perplexity")
_DIGITS = 4  # of a log-likelihood in a record

AskEngine = Callable[[Ask], Reply]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the harness makes of one file's answers to a task."""

    n_items: int
    version: str
    prompts_sha256: str
    data_sha256: str
    metrics: tuple[TaskMetric, ...]
    items: TaskItems | None


class Harness:
    """The tasks of one call, loaded when they are asked for and kept."""

    def __init__(self, options: HarnessOptions) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        os.environ.setdefault("TQDM_DISABLE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        logging.disable(logging.WARNING)
        _refuse_code(options.execute_code)
        from lm_eval.tasks import TaskManager

        self._options = options
        include: list[str | Path] = []
        folders = folders_of(options.names)
        if folders is not None:
            import lm_eval.tasks

            root = Path(lm_eval.tasks.__file__).parent
            include += [root / name for name in folders]
        if is_offline(options.names):
            include.append(OFFLINE_FOLDER)
        own = [Path(options.include)] if options.include else []
        self._manager = TaskManager(include_path=[*include, *own], include_defaults=folders is None)
        self._make_paths_absolute([OFFLINE_FOLDER, *own])
        self._loaded: dict[str, dict[str, Any]] = {}

    def _make_paths_absolute(self, folders: Sequence[Path]) -> None:
        """Let data files be relative to the task file that names them; the harness looks in the current folder."""
        from lm_eval.tasks._yaml_loader import load_yaml

        for entry in self._manager.task_index.values():
            path = entry.yaml_path
            if path is not None and any(path.resolve().is_relative_to(folder.resolve()) for folder in folders):
                config = load_yaml(path, resolve_func=self._options.trust_include)
                entry.cfg, entry.yaml_path = with_absolute_data(config, path.parent.resolve()), None

    def unknown(self) -> list[str]:
        """Return the names that are no task, group or tag."""
        return [name for name in self._options.names if name not in self._manager.task_index]

    def similar(self, name: str) -> list[str]:
        """Return a few names of tasks like one that there is not."""
        import difflib

        return difflib.get_close_matches(name, self._manager.all_tasks, n=3)

    def running_code(self) -> list[str]:
        """Return the tasks that run what a model writes."""
        return [
            name
            for name in self._options.names
            if (entry := self._manager.task_index.get(name)) and (entry.cfg or {}).get("unsafe_code")
        ]

    def tasks(self, name: str) -> dict[str, Any]:
        """Return the tasks of a name, with their data.

        Raises:
            Exception: whatever loading them raises: there is no network, a package is missing, a file is wrong.
        """
        if name not in self._loaded:
            loaded = self._manager.load([name])["tasks"]
            for task in loaded.values():
                task.own_shots = task.get_config("num_fewshot")
            self._loaded[name] = loaded
        return self._loaded[name]

    def shots_of(self, task: Any, shots: Sequence[int] | None) -> Iterator[int]:
        """Yield how many examples stand before a question, each number once: some tasks fix it at none."""
        asked: Sequence[int | None] = shots or (None,)
        yield from dict.fromkeys(
            0 if task.own_shots == 0 else (task.own_shots or 0) if each is None else each for each in asked
        )

    def evaluate(self, name: str, task: Any, n_shots: int, n_limit: int | None, ask: AskEngine) -> Found:
        """Put a task's questions to a model.

        Raises:
            Exception: whatever the task's own code raises, and what `ask` does.
        """
        from lm_eval.evaluator import evaluate

        task.set_config(key="num_fewshot", value=n_shots)
        task.set_fewshot_seed(seed=_SEED)
        results = evaluate(
            lm=_model_class()(ask),
            task_dict={"tasks": {name: task}},
            limit=n_limit,
            bootstrap_iters=_BOOTSTRAP_ITERS,
            log_samples=True,
            confirm_run_unsafe_code=self._options.execute_code,
        )
        assert results is not None
        return _found(name, task, results)


def _refuse_code(execute_code: bool) -> None:
    """Keep the harness from running what it fetches, and templates from reaching into Python."""
    import datasets
    import evaluate
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment
    from lm_eval import utils

    def load(name: str, *_: object, **__: object) -> Any:
        if name == "code_eval" and execute_code:
            from profiler.tasks.code_eval import CodeEval

            return CodeEval()
        raise UserError(f"the metric '{name}' is code on a hub, which slmprof does not run; use another task")

    evaluate.load = load
    datasets.disable_progress_bars()
    safe = SandboxedEnvironment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
    safe.filters.update(utils.env.filters)
    utils.env = safe


def _model_class() -> Any:
    from lm_eval.api.model import LM

    class EngineModel(LM):  # type: ignore[misc]
        """The harness's view of a model: texts in, figures and texts out."""

        def __init__(self, ask: AskEngine) -> None:
            super().__init__()
            self._ask = ask

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return list(self._ask(Ask(pairs=tuple(Pair(*request.args) for request in requests))).scores)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return list(self._ask(Ask(texts=tuple(request.args[0] for request in requests))).sums)

        def generate_until(self, requests: list[Any]) -> list[str]:
            asked = tuple(_continue(*request.args) for request in requests)
            return list(self._ask(Ask(continuations=asked)).texts)

    return EngineModel


def _continue(context: str, options: dict[str, Any]) -> Continue:
    """Return a request for a continuation.

    Raises:
        UserError: the task wants another than the most probable tokens.
    """
    if options.get("do_sample") and options.get("temperature", 1.0):
        raise UserError("the task draws tokens at random; slmprof takes the most probable ones only, use another task")
    until = options.get("until") or []
    stops = (until,) if isinstance(until, str) else tuple(map(str, until))
    n_new = next((options[name] for name in _LIMIT_NAMES if options.get(name) is not None), _N_NEW)
    return Continue(context, stops, int(n_new))


def _found(name: str, task: Any, results: dict[str, Any]) -> Found:
    samples = results["samples"][name]
    better = results["higher_is_better"].get(name, {})
    metrics = []
    for key, value in results["results"][name].items():
        metric, _, picked = key.partition(",")
        if picked and not metric.endswith("_stderr") and isinstance(value, int | float):
            se = results["results"][name].get(f"{metric}_stderr,{picked}")
            se = float(se) if isinstance(se, int | float) else None
            is_better = better.get(metric) is not False
            metrics.append(
                TaskMetric(name=metric, filter=picked, value=float(value), se=se, higher_is_better=is_better)
            )
    first_filter = samples[0]["filter"] if samples else "none"
    once = [sample for sample in samples if sample["filter"] == first_filter]
    return Found(
        n_items=len(once),
        version=str(results["versions"].get(name, "")),
        prompts_sha256=_hash([sample["arguments"] for sample in once]),
        data_sha256=_hash([sample["doc_hash"] for sample in once]),
        metrics=tuple(metrics),
        items=_items(metrics, samples, task.OUTPUT_TYPE),
    )


def _items(metrics: Sequence[TaskMetric], samples: Sequence[dict[str, Any]], output_type: str) -> TaskItems | None:
    """Return the items' scores of the metric that stands for the task."""
    ranked = sorted(metrics, key=lambda each: _MAIN_METRICS.index(each.name) if each.name in _MAIN_METRICS else 99)
    for metric in ranked:
        chosen = [sample for sample in samples if sample["filter"] == metric.filter]
        scores = [sample.get(metric.name) for sample in chosen]
        if not all(isinstance(score, int | float) for score in scores):
            continue
        likelihoods: list[tuple[float, ...]] = []
        if output_type in ("multiple_choice", "loglikelihood"):
            likelihoods = [tuple(round(one[0][0], _DIGITS) for one in sample["resps"]) for sample in chosen]
        return TaskItems(
            metric=metric.name,
            filter=metric.filter,
            scores=tuple(map(float, scores)),  # type: ignore[arg-type]
            log_likelihoods=tuple(likelihoods),
        )
    if output_type == "loglikelihood_rolling" and ranked:
        likelihoods = [(round(sample["resps"][0][0], _DIGITS),) for sample in samples]
        return TaskItems(metric=ranked[0].name, filter="none", scores=(), log_likelihoods=tuple(likelihoods))
    return None


def _hash(value: Any) -> str:
    text = json.dumps(value, default=str, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
