"""`trainer weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import Subcommands, weights_options
from trainer.cli.printing import echo

if TYPE_CHECKING:
    from trainer.checkpoints.pdfiles import Array


@click.group("weights", cls=Subcommands)
def command() -> None:
    """List, fetch, inspect and convert pretrained weights."""


@command.command("list")
@click.argument("part", default="")
@weights_options
def list_command(part: str, weights_dir: Path | None, offline: bool) -> None:
    """Show the architectures whose name holds PART, with the file or the address of their weights."""

    def work() -> None:
        from trainer.preparation import list_weights

        for name, place in list_weights(part, weights_dir=weights_dir, offline=offline).items():
            echo(f"{name}\t{place or 'not published'}")

    sys.exit(end_with(work, Ending()))


@command.command("fetch")
@click.argument("names", nargs=-1)
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path), metavar="FILE",
    help="Fetch what a config begins with, too: of each network with `pretrained: True`.",
)  # fmt: skip
@click.option(
    "--ssld", is_flag=True, help="Fetch the weights that were distilled with SSLD, as Arch.use_ssld asks for."
)
@weights_options
def fetch_command(
    names: tuple[str, ...], path: Path | None, ssld: bool, weights_dir: Path | None, offline: bool
) -> None:
    """Download the weights of NAMES (architectures or addresses) unless they are here; print their paths."""
    if not names and path is None:
        raise click.UsageError("expected NAMES or -c FILE, got neither; `trainer weights list` shows names")

    def work() -> None:
        from trainer.preparation import fetch_weights, weights_of

        wanted = [(name, ssld) for name in names]
        if path is not None and not (of_config := weights_of(path)):
            echo(f"{path}: no network begins with published weights (`pretrained: True`)", err=True)
        elif path is not None:
            wanted += of_config
        for name, distilled in wanted:
            found = fetch_weights(
                name,
                ssld=distilled,
                weights_dir=weights_dir,
                offline=offline,
                say=lambda line: echo(line, err=True),
            )
            echo(str(found))

    sys.exit(end_with(work, Ending()))


@command.command("inspect")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--arch", metavar="NAME", help="Architecture to hold the weights against.")
@click.option("--keys", is_flag=True, help="Print each key with its shape and data type.")
def inspect_command(path: Path, arch: str | None, keys: bool) -> None:
    """Say what a .pdparams or .safetensors holds, without running code of it."""

    def work() -> None:
        require_packages()
        from trainer.preparation import inspect_weights

        arrays = inspect_weights(path)
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
def convert_command(source: Path, target: Path, overwrite: bool) -> None:
    """Write the weights of SOURCE to TARGET; its ending says whether as .pdparams or as .safetensors.

    Names and values stay the same. A .safetensors holds no program, and is read without Paddle.
    """

    def work() -> None:
        from trainer.preparation import convert_weights

        count = convert_weights(source, target, overwrite=overwrite)
        echo(f"{target}: {count} keys of {source}")

    sys.exit(end_with(work, Ending()))


def _compare(arch: str, arrays: dict[str, Array]) -> None:
    import paddle

    from trainer.models.registry import create_model
    from trainer.models.weights import compare_shapes
    from trainer.preparation import require_arch

    with paddle.LazyGuard():  # nothing is drawn
        model = create_model(require_arch(arch))
    report = compare_shapes({key: tensor.shape for key, tensor in model.state_dict().items()}, arrays)
    echo(f"{arch}: {len(report.loaded)} keys fit")
    for what, found in (
        ("missing in the file", report.missing),
        ("unknown to the model", report.unexpected),
        ("of another shape", report.reshaped),
    ):
        for item in found:
            echo(f"{what}: {item}")
