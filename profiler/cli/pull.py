"""`slmprof pull`: download a checkpoint, or GGUF files, from a Hugging Face hub."""

import click

from quant.base.errors import UserError


@click.command()
@click.argument("source")
@click.option(
    "-q", "--levels", metavar="LEVELS", help="Download GGUF files of these levels from a repository that has them."
)
def pull(source: str, levels: str | None) -> None:
    """Download a checkpoint from a Hugging Face hub and print its directory; with -q GGUF files and their paths.

    Only config, tokenizer and weights are downloaded, all of one commit, into the Hugging Face cache (HF_HOME).
    Weights are safetensors, or pytorch_model.bin where a repository has no others. Set HF_TOKEN for gated repositories,
    HF_ENDPOINT for another hub, HF_HUB_OFFLINE=1 to use the cache only.

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

    with progress_bar():
        if wanted is None:
            paths = [hub.pull(found.repo, found.revision).path]
        else:
            files = hub.pull_ggufs(found.repo, wanted, found.revision)
            paths = [path for shards in files.values() for path in shards]
    for path in paths:
        click.echo(path)
