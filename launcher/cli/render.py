"""`ftlaunch render`."""

from __future__ import annotations

import click

from launcher.cli.explaining import explanation, write_table
from launcher.cli.options import Asked, launch_options, output_option
from launcher.cli.prepare import narrate, prepare
from launcher.cli.printing import echo
from launcher.errors import UsageError


@click.command("render")
@launch_options
@click.option("--explain", "explaining", is_flag=True, help="Print where every value comes from instead.")
@output_option("json", default="text")
def command(asked: Asked, explaining: bool, output: str) -> None:
    """Print the manifest that `submit` would act on, byte for byte."""
    if output == "json" and not explaining:
        raise UsageError("--output json: expected --explain beside it")
    prepared = prepare(asked)
    narrate(prepared)
    if explaining:
        write_table(explanation(prepared), output=output)
        return
    echo(prepared.manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say
