"""Options of several commands that draw."""

import click

formats_option = click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["png", "svg", "pdf"]),
    help="File format of the charts; repeat it for several.  [default: png]",
)
style_option = click.option(
    "--style",
    type=click.Choice(["paper", "slide", "web"]),
    default="paper",
    help="Size of the charts: for a paper's column, a slide, or a web page.",
)
