"""`trainer check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, weights_dir_option
from trainer.cli.printing import echo, warn
from trainer.config.zoo import find_foreign, is_installed, lacks_package
from trainer.ranks import read_ranks


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
        if not config_only:
            require_packages()
        from trainer.loading import LoadOptions, load

        options = LoadOptions(overrides=overrides, strict=strict, extra_modules=extra_modules, computes=False)
        loaded = load(path, options, read_ranks(), warn=warn)
        if config_only:
            if not is_installed():
                for place, name in find_foreign(loaded.config.arch):
                    echo(str(loaded.document.problem(place, lacks_package(name), warning=True)), err=True)
            echo(f"{path}: ok: {loaded.config.arch.name}, {loaded.config.arch.class_num} classes")
            return
        from trainer.api import weights_store
        from trainer.data.image_cache import ImageCache
        from trainer.engine.image_report import read_images
        from trainer.engine.lint import find_oddities, look_around
        from trainer.engine.model_check import check_model
        from trainer.engine.resume import refuse_missing_checkpoint
        from trainer.engine.setup import prepare

        config, ranks = loaded.config, read_ranks()
        lists = prepare(config, ranks)
        refuse_missing_checkpoint(config)
        cache = ImageCache()
        total = lists.size if images is None else min(images * 2, lists.size)
        with progress() as bar:
            bar.begin("reading images", total)
            decoded = read_images(config, lists, count=images, cache=cache, done=bar.advance)
        cache.close()
        for warning in decoded.warnings:
            echo(f"{path}: warning: {warning}", err=True)
        for oddity in find_oddities(config, lists, look_around(ranks.world_size)):
            echo(f"{path}: warning: {oddity}", err=True)
        model = check_model(loaded.config, weights_store(weights_dir, offline=True))
        count = len(lists.evaluation) if lists.evaluation is not None else 0
        classes = loaded.config.arch.class_num
        echo(f"{path}: ok: {len(lists.train)} training and {count} evaluation images, {classes} classes")
        echo(f"{path}: {decoded}")
        echo(f"{path}: {model}")

    sys.exit(end_with(work, Ending()))
