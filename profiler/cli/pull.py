"""`slmprof pull`: download a checkpoint, an adapter, or GGUF files, from a Hugging Face hub."""

import shlex
from pathlib import Path

import click

from quant.base.errors import UserError


@click.command()
@click.argument("source")
@click.option(
    "-q", "--levels", metavar="LEVELS", help="Download GGUF files of these levels from a repository that has them."
)
def pull(source: str, levels: str | None) -> None:
    """Download a checkpoint or a LoRA adapter from a Hugging Face hub and print its directory; with -q GGUF files.

    Only config, tokenizer and weights are downloaded, all of one commit, into the Hugging Face cache (HF_HOME).
    Weights are safetensors, or pickled ones where a repository has no others. Of an adapter its base model is named.
    Set HF_TOKEN for gated repositories, HF_ENDPOINT for another hub, HF_HUB_OFFLINE=1 to use the cache only.

    \b
    slmprof pull smollm2-135m
    slmprof pull org/name@revision
    slmprof pull org/name-GGUF -q Q4_K_M
    """
    from profiler.cli.progress.bar import progress_bar
    from quant.gguf_io.levels import parse_levels
    from quant.sources.resolve import resolve

    found = resolve(source)
    if found.repo is None:
        raise UserError(f"{source} is a local path already; pull takes a model's name or a hub id like org/name")
    wanted = parse_levels(levels) if levels else None
    from quant.hub import fetch as hub

    adapter = None
    with progress_bar():
        if wanted is not None:
            files = hub.pull_ggufs(found.repo, wanted, found.revision)
            paths = [path for shards in files.values() for path in shards]
        elif hub.holds_adapter(found.repo, found.revision):
            adapter = hub.pull_adapter(found.repo, found.revision).path
            paths = [adapter]
        else:
            paths = [hub.pull(found.repo, found.revision).path]
    if adapter is not None:
        click.echo(f"{found.repo} is an adapter{_next_step(adapter)}", err=True)
    for path in paths:
        click.echo(path)


def _next_step(adapter: Path) -> str:
    """Return the base model that an untrusted config names, and the command that merges the two."""
    from quant.convert.weight_files import base_of_adapter
    from quant.sources.resolve import hub_id

    base = base_of_adapter(adapter)
    source = base if base is not None and hub_id(base) else "BASE"
    command = f"slmprof convert {source} --adapter {shlex.quote(str(adapter))} -o tuned.gguf"
    if base is None:
        return f" that names no base model; merge it with: {command}"
    return f" of {base}; merge it with: {command}"
