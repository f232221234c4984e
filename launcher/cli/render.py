"""`ftlaunch render`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.options import Asked, launch_options
from launcher.cli.prepare import narrate, prepare


@click.command("render")
@launch_options
@click.option(
    "--template-dir", "template_dirs", multiple=True, type=click.Path(path_type=Path), metavar="FOLDER",
    help="Templates that win over ours; what they give is parsed, but not compared with the plan.",
)  # fmt: skip
def command(asked: Asked, template_dirs: tuple[Path, ...]) -> None:
    """Print the manifest that `submit` would act on, byte for byte."""
    config, job, manifest = prepare(asked, template_dirs=template_dirs)
    narrate(config, job)
    click.echo(manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say
