"""`trainer resize`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.endings import Ending, end_with
from trainer.cli.printing import echo
from trainer.config.load import read_content
from trainer.config.resize import resize
from trainer.protocol.safe_files import replace_file


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
        content, changes = resize(read_content(path), size, name=str(path))
        for change in changes:
            echo(f"{path}: {change}")
        if not changes:
            echo(f"{path}: all sizes are {size} already", err=True)
        elif not dry_run:
            replace_file(path, content)

    sys.exit(end_with(work, Ending()))
