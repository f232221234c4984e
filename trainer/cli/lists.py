"""`trainer make-lists`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with
from trainer.cli.printing import echo, hush_decoders
from trainer.errors import MAX_PROBLEMS_SHOWN

if TYPE_CHECKING:
    from trainer.data.make_lists import ListsReport

_MOST_ROWS = 40


@click.command("make-lists")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--val", type=click.FloatRange(0, 1, max_open=True), show_default="0.2",
    help="Share of each class to hold out for validation; not used where FOLDER has a validation folder.",
)  # fmt: skip
@click.option(
    "--test", type=click.FloatRange(0, 1, max_open=True), default=0.0, metavar="SHARE",
    help="Share of each class for test_list.txt, whose images stand in no other list.",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(2), metavar="N",
    help="Hold each image out once: train_list_fold1.txt and val_list_fold1.txt to N, in the place of --val. "
    "train_list.txt and val_list.txt are those of the first.",
)  # fmt: skip
@click.option(
    "--groups", metavar="REGEX",
    help="What must not be torn apart: paths in which its first group, or else all of it, finds the same "
    "text stay in one list, such as --groups '([^/_]+)_[^/]*$' for the word before the last _.",
)  # fmt: skip
@click.option(
    "--seed", type=int, default=0, show_default=True, help="Seed of the random choice of held-out images."
)
@click.option(
    "--read/--no-read", default=True, show_default=True,
    help="Decode every image and leave out those that cannot be read. What was found of a file is remembered "
    "until the file changes.",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace list files that exist.")
@click.option("--no-next", is_flag=True, hidden=True)  # for `ftlaunch init`, which does what it would say
def command(
    *, folder: Path, val: float | None, test: float, folds: int | None, groups: str | None, seed: int,
    read: bool, overwrite: bool, no_next: bool,
) -> None:  # fmt: skip
    """Write train_list.txt, val_list.txt and labels.txt for a FOLDER of images.

    FOLDER has one folder of images for each class; or it is divided already into train/, val/ (or valid/,
    validation/) and test/, each with such folders, and is taken as it stands.
    """
    if val is not None and folds is not None:
        raise click.UsageError("expected --val or --folds, got both; each fold holds out one part of N")

    def work() -> None:
        from trainer.data.make_lists import LABELS, TEST, TRAIN, VAL
        from trainer.preparation import make_lists

        with hush_decoders(), progress() as bar:
            report = make_lists(
                folder, val=0.2 if val is None else val, test=test, folds=folds or 0, groups=groups,
                seed=seed, read=read, overwrite=overwrite, progress=bar,
            )  # fmt: skip
        tested = "" if report.test is None else f" {report.test} in {TEST},"
        echo(
            f"{folder}: {len(report.classes)} classes; {report.train} images in {TRAIN}, "
            f"{report.val} in {VAL},{tested} class names in {LABELS}"
        )
        if test or folds or groups is not None:
            for line in _table(report, folds=folds or 0):
                echo(line)
        for problem in report.bad_images[:MAX_PROBLEMS_SHOWN]:
            echo(f"left out: {problem}", err=True)
        if report.bad_images:
            count = len(report.bad_images)
            said = (
                "1 image cannot be read and stands"
                if count == 1
                else f"{count} images cannot be read and stand"
            )
            echo(f"{said} in no list", err=True)
        if not report.were_read:
            echo("no image was read: `trainer check --images all` does so before training", err=True)
        if report.other_files:
            echo(f"{report.other_files} files are no images by their ending and were left out", err=True)
        if report.with_space:
            echo(f"{report.with_space} paths hold a space, which PaddleClas itself would not read", err=True)
        if report.without_val:
            which = "each fold holds images out of all classes but" if folds else "no image is held out of"
            echo(f"{which}: {', '.join(report.without_val)}", err=True)
        if report.stale:
            echo(
                f"left as they are, of another split: {', '.join(report.stale)}; their images may stand in "
                "the new lists too",
                err=True,
            )
        if report.parts:
            lists = {"train": TRAIN, "val": VAL, "test": TEST}
            taken = ", ".join(f"{name}/ as {lists[part]}" for part, name in report.parts.items())
            held_out = "" if "val" in report.parts else f"; {VAL} is held out of {report.parts['train']}/"
            echo(f"{folder} is divided already; took {taken}{held_out}", err=True)
        if report.ignored:
            named = ", ".join(f"{name}/" for name in report.ignored)
            echo(f"left out, because no class folders are known there: {named}", err=True)
        if not no_next:
            count = len(report.classes)
            echo(f"next: ftlaunch init --data {shlex.quote(str(folder))}", err=True)
            echo(f"or, in a config of yours: Arch.class_num {count}, image_root {folder}", err=True)

    sys.exit(end_with(work, Ending()))


def _table(report: ListsReport, *, folds: int) -> Iterator[str]:
    """Yield a row a class: its images in each list, and with folds how many each of them holds out."""
    from trainer.data.make_lists import TEST, TRAIN, VAL

    columns = {"train": TRAIN, "val": VAL}
    if folds:
        columns = {f"fold {number}": f"val_list_fold{number}.txt" for number in range(1, folds + 1)}
    columns |= {"test": TEST} if TEST in report.counts else {}
    counts = {head: report.counts[name] for head, name in columns.items()}
    rows = [(name, [str(of[label]) for of in counts.values()]) for label, name in enumerate(report.classes)]
    more = len(rows) - _MOST_ROWS
    rows = [*rows[:_MOST_ROWS], ("all", [str(sum(of)) for of in counts.values()])]
    names = max(len("class"), *(len(name) for name, _ in rows))
    widths = [max(len(head), 6) for head in counts]
    for name, cells in [("class", list(counts)), *rows]:
        yield "  ".join(
            [name.ljust(names), *(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))]
        )
    if more > 0:
        yield f"and {more} more classes, which are counted in the last row"
    if report.groups is not None:
        yield f"{report.groups} groups, each in one list"
