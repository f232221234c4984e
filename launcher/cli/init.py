"""`ftlaunch init`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.printing import echo, print_note
from launcher.errors import CliExit, UsageError
from launcher.jobs.new_config import NewConfig, make_config, save_config
from trainer.protocol.installation import missing_packages

if TYPE_CHECKING:  # the grammar: `--help` does without
    from launcher.config.recipe import PresetName


@click.command("init")
@click.argument(
    "path", metavar="[FILE]", default="cfg.yaml", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option("--data", "folder", type=click.Path(path_type=Path), metavar="DIR", help="A folder of images.")
@click.option(
    "--preset", type=click.Choice(["fast", "good", "best"]), default="good", show_default=True,
    help="How much the training may cost: network, size of the images, epochs.",
)  # fmt: skip
@click.option("--arch", metavar="NAME", help="Architecture; by default that of the preset for CPUs or GPUs.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="CONFIG",
    help="PaddleClas config to start from: it gets a Launch section, and with --data it is fitted to DIR.",
)  # fmt: skip
@click.option("--make-lists", is_flag=True, hidden=True, help="Done in any case where there are no lists.")
@click.option(
    "--image-size",
    type=click.IntRange(min=32),
    help="Side of the network's input in pixels; by default chosen from the images' sizes.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Number of epochs; by default chosen from the number of images.",
)
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs of each node.")
@click.option(
    "--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of pods (nodes)."
)
@click.option("--image", metavar="IMAGE", help="Container image with the trainer.")
@click.option("--name", metavar="NAME", help="Prefix of the job's name.")
@click.option("--no-measure", is_flag=True, help="Do not measure how long and how much training takes here.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    *, path: Path, folder: Path | None, arch: str | None, source: Path | None, make_lists: bool,  # noqa: ARG001 - as its help says
    preset: PresetName,
    image_size: int | None, epochs: int | None, gpus: int, nodes: int, image: str | None, name: str | None,
    no_measure: bool, force: bool,
) -> CliExit:  # fmt: skip
    """Write a complete config for a folder of images; FILE is cfg.yaml where none is named, - is stdout.

    Where DIR has no lists yet, they are made, as by `trainer make-lists`. What is not given is chosen from
    the images, and printed.
    """
    if path.is_dir():
        fix = f"for its images: ftlaunch init --data {shlex.quote(str(path))}"
        raise UsageError(where=path, expected="a file to write", got="a folder", fix=fix)
    if str(path) != "-" and path.exists() and not force:
        raise UsageError(where=path, expected="no such file yet", fix="pass --force to overwrite it")
    wanted = NewConfig(
        data=folder,
        source=source,
        preset=preset,
        arch=arch,
        image_size=image_size,
        epochs=epochs,
        gpus=gpus,
        nodes=nodes,
        image=image,
        name=name,
        measure=not no_measure,
    )
    text = make_config(wanted, path=path, notes=print_note)
    if str(path) == "-":
        echo(text.encode("utf-8"), nl=False)
        echo("for your editor: mkdir -p .ftlaunch && ftlaunch schema > .ftlaunch/schema.json", err=True)
        return CliExit.OK
    save_config(path, text)
    where = "kubernetes" if missing_packages() else "local"
    echo(f"{path}: written; next: ftlaunch submit {path} --on {where} --follow", err=True)
    return CliExit.OK
