"""`trainer check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with
from trainer.cli.options import config_options, weights_dir_option
from trainer.cli.printing import echo, warn


def _read_count(ctx: click.Context, param: click.Parameter, value: str) -> int | None:
    """Read a number of images, or `all`, which is None."""
    if value == "all":
        return None
    if value.isdecimal() and value.isascii() and len(value) < 10:
        return int(value)
    raise click.BadParameter(f"expected a number of images or all, got {value!r}", ctx, param)


@click.command("check")
@config_options
@click.option(
    "--images", callback=_read_count, default="32", show_default=True, metavar="N|all",
    help="Decode N images of each list, spread evenly, or all of them. What is found of a file is remembered "
    "until the file changes.",
)  # fmt: skip
@weights_dir_option
@click.option(
    "--config-only", is_flag=True, help="Check the config alone; read neither list files nor images."
)
def command(
    *,
    path: Path,
    overrides: tuple[str, ...],
    extra_modules: tuple[str, ...],
    strict: bool,
    config_only: bool,
    images: int | None,
    weights_dir: Path | None,
) -> None:
    """Check the config and the list files that it names, without training."""

    def work() -> None:
        from trainer.preparation import check

        with progress() as bar:
            found = check(
                path, set=overrides, images=images, config_only=config_only, weights_dir=weights_dir,
                strict=strict, extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        for warning in found.warnings:
            echo(warning if config_only else f"{path}: warning: {warning}", err=True)
        if found.train is None:
            echo(f"{path}: ok: {found.arch}, {found.classes} classes")
            return
        echo(
            f"{path}: ok: {found.train} training and {found.evaluation} evaluation images, "
            f"{found.classes} classes"
        )
        echo(f"{path}: {found.images}")
        echo(f"{path}: {found.model}")

    sys.exit(end_with(work, Ending()))
