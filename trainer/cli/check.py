"""`trainer check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, load, make_store, weights_dir_option
from trainer.cli.printing import echo
from trainer.ranks import read_ranks


@click.command("check")
@config_options
@click.option(
    "--images", type=click.IntRange(min=0), default=32, show_default=True, metavar="N",
    help="Decode N images of each list, spread evenly.",
)  # fmt: skip
@weights_dir_option
@click.option("--config-only", is_flag=True, help="Read no list file and no image.")
def command(
    *,
    path: Path,
    overrides: tuple[str, ...],
    extra_modules: tuple[str, ...],
    strict: bool,
    config_only: bool,
    images: int,
    weights_dir: Path | None,
) -> None:
    """Check the config and the list files that it names, without training."""

    def work() -> None:
        if not config_only:
            require_packages()
        loaded = load(
            path, overrides, strict=strict, extra_modules=extra_modules, path_map=read_ranks().path_map,
            computes=False,
        )  # fmt: skip
        if config_only:
            echo(f"{path}: ok: {loaded.config.arch.name}, {loaded.config.arch.class_num} classes")
            return
        from trainer.data.errors import DataError
        from trainer.engine.advice import broken_images, find_oddities, look_around
        from trainer.engine.model_check import check_model
        from trainer.engine.setup import load_lists

        lists = load_lists(loaded.config)
        if broken := broken_images(lists, count=images):
            raise DataError(broken)
        for oddity in find_oddities(loaded.config, lists, look_around(read_ranks().world_size)):
            echo(f"{path}: warning: {oddity}", err=True)
        model = check_model(loaded.config, make_store(weights_dir, offline=True))
        count = len(lists.evaluation) if lists.evaluation is not None else 0
        classes = loaded.config.arch.class_num
        echo(f"{path}: ok: {len(lists.train)} training and {count} evaluation images, {classes} classes")
        echo(f"{path}: {model}")

    sys.exit(end_with(work, Ending()))
