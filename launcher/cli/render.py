"""`ftlaunch render`."""

from __future__ import annotations

import click

from launcher.cli.options import Asked, launch_options
from launcher.cli.prepare import narrate, prepare


@click.command("render")
@launch_options
def command(asked: Asked) -> None:
    """Print the manifest that `submit` would act on, byte for byte."""
    prepared = prepare(asked)
    narrate(prepared)
    click.echo(prepared.manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say
