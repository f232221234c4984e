"""`trainer make-lists`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.endings import Ending, end_with
from trainer.cli.printing import echo


@click.command("make-lists")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--val", type=click.FloatRange(0, 1, max_open=True), default=0.2, show_default=True,
    help="Share of each class to hold out; without effect where FOLDER has train/ and val/.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the choice.")
@click.option("--overwrite", is_flag=True, help="Replace lists that are there.")
def command(folder: Path, val: float, seed: int, overwrite: bool) -> None:
    """Write train_list.txt, val_list.txt and labels.txt for FOLDER, which has a folder of images a class."""

    def work() -> None:
        from trainer.data.split import LABELS, TRAIN, VAL, make_lists

        report = make_lists(folder, val=val, seed=seed, overwrite=overwrite)
        echo(
            f"{folder}: {len(report.classes)} classes; {report.train} images in {TRAIN}, "
            f"{report.val} in {VAL}, class names in {LABELS}"
        )
        if report.other_files:
            echo(f"{report.other_files} files are no images by their ending and were left out", err=True)
        if report.with_space:
            echo(f"{report.with_space} paths hold a space, which PaddleClas itself would not read", err=True)
        if report.without_val:
            echo(f"no image is held out of: {', '.join(report.without_val)}", err=True)
        echo(f"next: set Arch.class_num to {len(report.classes)}, image_root to {folder}", err=True)

    sys.exit(end_with(work, Ending()))
