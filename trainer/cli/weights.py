"""`trainer weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import weights_options
from trainer.cli.printing import echo

if TYPE_CHECKING:
    from trainer.checkpoints.pdfiles import Array


@click.group("weights")
def command() -> None:
    """List, fetch, inspect and convert pretrained weights."""


@command.command("list")
@click.argument("part", default="")
@weights_options
def list_weights(part: str, weights_dir: Path | None, offline: bool) -> None:
    """Show the architectures whose name holds PART, with the file or the address of their weights."""

    def work() -> None:
        from trainer.api import weights_store
        from trainer.config.archs import SINGLE_ARCHS
        from trainer.models.published import published_url

        store = weights_store(weights_dir, offline=offline)
        for name in SINGLE_ARCHS.names():
            if part.lower() in name.lower():
                url = published_url(name, use_ssld=False)
                echo(f"{name}\t{(store.find(url) or url) if url else 'not published'}")

    sys.exit(end_with(work, Ending()))


@command.command("fetch")
@click.argument("names", nargs=-1, required=True)
@click.option(
    "--ssld", is_flag=True, help="Fetch the weights that were distilled with SSLD, as Arch.use_ssld asks for."
)
@weights_options
def fetch_weights(names: tuple[str, ...], ssld: bool, weights_dir: Path | None, offline: bool) -> None:
    """Download the weights of NAMES (architectures or addresses) unless they are here; print their paths."""

    def work() -> None:
        from trainer.api import weights_store
        from trainer.models.weights_store import address_of, is_url

        store = weights_store(weights_dir, offline=offline)
        for name in names:
            url = name if is_url(name) else address_of(_known(name), use_ssld=ssld)
            echo(str(store.obtain(url, say=lambda line: echo(line, err=True))))

    sys.exit(end_with(work, Ending()))


@command.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--arch", metavar="NAME", help="Architecture to hold the weights against.")
@click.option("--keys", is_flag=True, help="Print each key with its shape and data type.")
def inspect_weights(path: Path, arch: str | None, keys: bool) -> None:
    """Say what a .pdparams or .safetensors holds, without running code of it."""

    def work() -> None:
        require_packages()
        from trainer.models.weights import read_weights

        arrays = read_weights(path)
        echo(f"{path}: {len(arrays)} keys, {sum(array.size for array in arrays.values()):,} values")
        for key, array in arrays.items() if keys else ():
            echo(f"{key}\t{list(array.shape)}\t{array.dtype}")
        if arch is not None:
            _compare(arch, arrays)

    sys.exit(end_with(work, Ending()))


@command.command("convert")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--overwrite", is_flag=True, help="Replace TARGET where it is there.")
def convert(source: Path, target: Path, overwrite: bool) -> None:
    """Write the weights of SOURCE to TARGET; its ending says whether as .pdparams or as .safetensors.

    Names and values stay the same. A .safetensors holds no program, and is read without Paddle.
    """

    def work() -> None:
        from trainer.models.weights import convert_weights

        count = convert_weights(source, target, overwrite=overwrite)
        echo(f"{target}: {count} keys of {source}")

    sys.exit(end_with(work, Ending()))


def _compare(arch: str, arrays: dict[str, Array]) -> None:
    import paddle

    from trainer.models.registry import create_model
    from trainer.models.weights import compare_shapes

    with paddle.LazyGuard():  # nothing is drawn
        model = create_model(_known(arch))
    report = compare_shapes({key: tensor.shape for key, tensor in model.state_dict().items()}, arrays)
    echo(f"{arch}: {len(report.loaded)} keys fit")
    for what, found in (
        ("missing in the file", report.missing),
        ("unknown to the model", report.unexpected),
        ("of another shape", report.reshaped),
    ):
        for item in found:
            echo(f"{what}: {item}")


def _known(name: str) -> str:
    from trainer.config.archs import SINGLE_ARCHS
    from trainer.config.problems import ConfigError, Problem, suggest

    names = SINGLE_ARCHS.names()
    if name not in names:
        message = f"expected an architecture, got {name!r}{suggest(name, names)}"
        raise ConfigError([Problem(file="weights", message=message)])
    return name
