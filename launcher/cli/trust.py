"""`ftlaunch trust`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.printing import echo
from launcher.jobs.trust import trust_folder
from launcher.runs.trusted import TrustedFiles


@click.command("trust")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option("--forget", is_flag=True, help="Trust nothing in the folder and below it any more.")
@click.option("--list", "listing", is_flag=True, help="Print the files that are trusted.")
def command(folder: Path, forget: bool, listing: bool) -> None:
    """Trust a folder's settings and templates: its .ftlaunch.yaml and .ftlaunch/templates.

    They decide what a job runs, and a folder may come from somebody else: look at them first. When their
    content changes, they are ignored until you trust them again.
    """
    trusted = TrustedFiles()
    if listing:
        for name in trusted.paths():
            echo(name)
        return
    if forget:
        for name in trusted.forget(folder):
            echo(f"no longer trusted: {name}", err=True)
        return
    for path in trust_folder(folder):
        echo(f"trusted as it is now: {path}", err=True)
