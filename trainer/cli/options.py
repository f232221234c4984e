"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainer.cli.printing import echo
from trainer.protocol.pathmap import PathMap

if TYPE_CHECKING:  # pydantic: `--help` does without
    from trainer.config.load import Loaded
    from trainer.config.root import InferConfig, TrainConfig
    from trainer.models.weights_store import WeightsStore

F = TypeVar("F", bound=Callable[..., Any])


extra_module_option = click.option(
    "--extra-module", "extra_modules", multiple=True, metavar="FILE|FOLDER|NAME",
    help="Import this first, instead of what Launch.extra_modules names; may be repeated.",
)  # fmt: skip
"""Python that registers names of the user's own."""


def config_options(command: F) -> F:
    """Add `-c FILE`, `-o KEY=VALUE` and `--strict`."""
    for option in (
        extra_module_option,
        click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them."),
        click.option(
            "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
            help="Change a value, such as -o Global.epochs=3; list items by index; may be repeated.",
        ),
        click.option(
            "-c", "--config", "path", required=True, type=click.Path(path_type=Path),
            help="A PaddleClas config.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


weights_dir_option = click.option(
    "--weights-dir", type=click.Path(path_type=Path), envvar="FTLAUNCH_WEIGHTS", metavar="FOLDER",
    help="Where pretrained weights are kept, besides ~/.paddleclas/weights; also FTLAUNCH_WEIGHTS.",
)  # fmt: skip
"""Where files of weights are looked for."""


def weights_options(command: F) -> F:
    """Add `--weights-dir` and `--offline`."""
    for option in (
        click.option(
            "--offline", is_flag=True, envvar="FTLAUNCH_OFFLINE",
            help="Download no weights; also FTLAUNCH_OFFLINE=1.",
        ),
        weights_dir_option,
    ):  # fmt: skip
        command = option(command)
    return command


def make_store(weights_dir: Path | None, *, offline: bool) -> WeightsStore:
    """Make the store that the options mean."""
    from trainer.models.weights_store import WeightsStore

    return WeightsStore(folders=() if weights_dir is None else (weights_dir,), offline=offline)


def load_answering(
    path: Path, overrides: tuple[str, ...], *, strict: bool, path_map: PathMap,
    extra_modules: tuple[str, ...] = (),
) -> Loaded[TrainConfig] | Loaded[InferConfig]:  # fmt: skip
    """Do the same as `load` with a config to predict with, which may lack what only training needs."""
    from trainer.cli.extras import import_modules
    from trainer.config.load import load_answering_config

    loaded = load_answering_config(
        Path(path_map.apply(str(path))), overrides, path_map=path_map, strict=strict,
        before_check=lambda document: import_modules(document, named=extra_modules, path_map=path_map),
    )  # fmt: skip
    for warning in loaded.warnings:
        echo(str(warning), err=True)
    return loaded


def load(
    path: Path, overrides: tuple[str, ...], *, strict: bool, path_map: PathMap,
    extra_modules: tuple[str, ...] = (), quiet: bool = False,
) -> Loaded[TrainConfig]:  # fmt: skip
    """Import the user's modules, load a config and print its warnings.

    Raises:
        ConfigError: It is refused.
    """
    from trainer.cli.extras import import_modules
    from trainer.config.load import load_config

    mapped = Path(path_map.apply(str(path)))
    loaded = load_config(
        mapped, overrides, path_map=path_map, strict=strict,
        before_check=lambda document: import_modules(document, named=extra_modules, path_map=path_map),
    )  # fmt: skip
    if not quiet:
        for warning in loaded.warnings:
            echo(str(warning), err=True)
    return loaded
