"""A measured cell -> the texts that run it: pure."""

from profiler.deploy.llama_cpp import command_line, models_ini, script
from profiler.deploy.ollama import modelfile
from profiler.deploy.python_file import python_file
from profiler.deploy.records import Deploy, Plan
from profiler.records.cell_summary import CellSummary
from profiler.records.config import CACHE_TYPES, LOAD_MODES
from quant.base.text import printable


def deploy_of(cell: CellSummary, *, model_path: str | None = None, n_ctx: int | None = None) -> Deploy | None:
    """Return the lines and files that run a cell; None where a setting has a name that llama.cpp does not know.

    Args:
        cell: its settings, those in force where they are known.
        model_path: of the model's file, as it is to be written; None: its name.
        n_ctx: the context to run with; None: the measured one.
    """
    plan = _plan(cell, model_path, n_ctx)
    if plan is None:
        return None
    return Deploy(
        llama_server=command_line("llama-server", plan),
        llama_cli=command_line("llama-cli", plan),
        modelfile=modelfile(plan),
        models_ini=models_ini(plan),
        python=python_file(plan),
    )


def deploy_files(cell: CellSummary, *, model_path: str | None = None, n_ctx: int | None = None) -> dict[str, str]:
    """Return the same as the files of a folder, by their names; `model_path` is relative to it. Empty for no Deploy."""
    plan = _plan(cell, model_path, n_ctx)
    if plan is None:
        return {}
    return {
        "llama-server.sh": script(command_line("llama-server", plan), plan),
        "llama-cli.sh": script(command_line("llama-cli", plan), plan),
        "Modelfile": modelfile(plan),
        "models.ini": models_ini(plan),
        "run.py": python_file(plan),
    }


def _plan(cell: CellSummary, model_path: str | None, n_ctx: int | None) -> Plan | None:
    config = cell.config
    if not ({config.type_k, config.type_v} <= CACHE_TYPES.keys() and config.load_mode in LOAD_MODES):
        return None
    path = printable(model_path or cell.artifact.file_name, "?")
    return Plan(cell=cell, model_path=f"./{path}" if path.startswith("-") else path, n_ctx=n_ctx or cell.config.n_ctx)
