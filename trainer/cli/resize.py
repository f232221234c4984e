"""`trainer resize`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.endings import Ending, end_with
from trainer.cli.printing import echo
from trainer.preparation import resize


@click.command("resize")
@click.argument("path", type=click.Path(path_type=Path), metavar="CONFIG")
@click.argument("size", type=click.IntRange(min=8))
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
def command(*, path: Path, size: int, dry_run: bool) -> None:
    """Set the side of the images in CONFIG to SIZE pixels, in all places that must agree.

    These are Global.image_shape, the crops and resizes of training, evaluation and Infer, and
    TimmAutoAugment; resize_short keeps its ratio to the crop. Comments and everything else stay as they are.
    """

    def work() -> None:
        changes = resize(path, size, dry_run=dry_run)
        for change in changes:
            echo(f"{path}: {change}")
        if not changes:
            echo(f"{path}: all sizes are {size} already", err=True)

    sys.exit(end_with(work, Ending()))
