"""`ftlaunch trust`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.printing import echo
from launcher.errors import UsageError
from launcher.runs.paths import TEMPLATES_FOLDER, is_ours, project_of
from launcher.runs.settings import find_settings, user_file
from launcher.runs.trusted import TrustedFiles, read_templates


@click.command("trust")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=".")
@click.option("--forget", is_flag=True, help="Trust nothing in the folder and below it any more.")
@click.option("--list", "listing", is_flag=True, help="Print the files that are trusted.")
def command(folder: Path, forget: bool, listing: bool) -> None:
    """Have the settings and templates of a folder count: its .ftlaunch.yaml and .ftlaunch/templates.

    They decide what a job runs, and a folder may come from somebody else: look at them first. When their
    content changes, they no longer count until you say so again.
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
    contents = _contents(folder)
    if not contents:
        raise UsageError(
            where=folder,
            expected=f".ftlaunch.yaml or {TEMPLATES_FOLDER} for this folder",
            got="neither of yours",
        )
    trusted.add(contents)
    for path in contents:
        echo(f"trusted as it is now: {path}", err=True)


def _contents(folder: Path) -> dict[Path, bytes]:
    from trainer.config.load import read_content

    found = {path: read_content(path) for path in find_settings(folder.resolve()).read if path != user_file()}
    templates = project_of(folder) / TEMPLATES_FOLDER
    if templates.is_dir() and is_ours(templates):
        found |= read_templates(templates)
    return found
