"""`slmprof cache`: the cache folder, what is in it, and how to empty it."""

import sys
from datetime import datetime

import click

from quant.base.errors import UserError


@click.command()
@click.argument("action", type=click.Choice(["path", "list", "clean"]), default="list")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def cache(action: str, yes: bool) -> None:
    """List the cached files with their sizes (list), print the cache folder (path), or empty it (clean).

    The cache holds GGUF files made by slmprof profile, and facts about files and this device. Everything in it can be
    rebuilt. Checkpoints downloaded from a hub are in the Hugging Face cache, which is not touched.

    \b
    slmprof cache
    slmprof cache clean
    """
    from quant.base.cache import clean, entries
    from quant.base.files import cache_dir
    from quant.base.units import format_bytes

    if action == "path":
        click.echo(cache_dir())
        return
    cached = entries()
    total = format_bytes(sum(entry.n_bytes for entry in cached))
    if action == "list":
        for entry in cached:
            day = datetime.fromtimestamp(entry.changed_s).strftime("%Y-%m-%d")
            click.echo(f"{format_bytes(entry.n_bytes):>10}  {day}  {entry.name}  ({entry.about})")
        click.echo(f"{total:>10}  in {cache_dir()}")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UserError("cache clean needs a confirmation, and stdin is not a terminal; add --yes")
        click.confirm(f"Remove {len(cached)} entries, {total}, from {cache_dir()}?", abort=True, err=True)
    click.echo(f"removed {format_bytes(clean())}", err=True)
