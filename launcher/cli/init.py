"""`ftlaunch init`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.printing import echo
from launcher.errors import CliExit, UsageError
from launcher.names import to_dns_label
from trainer.protocol.python_command import python_command

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.spec.starter import Wanted


@click.command("init")
@click.argument(
    "path", metavar="[FILE]", default="cfg.yaml", type=click.Path(path_type=Path, allow_dash=True)
)
@click.option("--data", "folder", type=click.Path(path_type=Path), metavar="DIR", help="A folder of images.")
@click.option("--arch", default="ResNet50_vd", show_default=True, help="Architecture.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), metavar="CONFIG",
    help="A PaddleClas config: it stays as it is, and gets a Launch section.",
)  # fmt: skip
@click.option("--make-lists", is_flag=True, help="Make the list files of --data where there are none.")
@click.option(
    "--image-size", type=click.IntRange(min=32), default=224, show_default=True,
    help="Side in pixels; sets all six sizes of a config.",
)  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--gpus", type=click.IntRange(min=0), default=0, show_default=True, help="GPUs of each node.")
@click.option(
    "--nodes", type=click.IntRange(min=1), default=1, show_default=True, help="Number of pods (nodes)."
)
@click.option("--image", metavar="IMAGE", help="Container image with the trainer.")
@click.option("--name", metavar="NAME", help="Prefix of the job's name.")
@click.option("--force", is_flag=True, help="Overwrite FILE.")
def command(
    *, path: Path, folder: Path | None, arch: str, source: Path | None, make_lists: bool, image_size: int,
    epochs: int, gpus: int, nodes: int, image: str | None, name: str | None, force: bool,
) -> CliExit:  # fmt: skip
    """Write a complete config for a folder of images; FILE is cfg.yaml where none is named, - is stdout."""
    from launcher.spec.starter import Wanted

    base = folder if folder is not None else source
    if base is None or (folder is not None and source is not None):
        raise UsageError("init: expected --data DIR, a folder of images, or --from CONFIG, and not both")
    if str(path) != "-" and path.exists() and not force:
        raise UsageError(f"{path}: expected no such file yet; pass --force to overwrite it")
    wanted = Wanted(
        arch=arch, name=to_dns_label(name or (base.resolve().name if source is None else base.stem)),
        epochs=epochs, image_size=image_size, gpus=gpus, nodes=nodes, image=image,
    )  # fmt: skip
    text = (
        _add_launch(source, wanted)
        if source is not None
        else _for_images(base, wanted, make_lists=make_lists)
    )
    _report(text, path, strict=source is None)
    if str(path) == "-":
        echo(text.encode("utf-8"), nl=False)
        echo("for your editor: mkdir -p .ftlaunch && ftlaunch schema > .ftlaunch/schema.json", err=True)
        return CliExit.OK
    try:
        _save(path, text)
    except OSError as error:
        raise UsageError(f"{path}: expected a file that can be written: {error}") from error
    echo(f"{path}: written; next: ftlaunch submit {path} --on local --follow", err=True)
    return CliExit.OK


def _for_images(folder: Path, wanted: Wanted, *, make_lists: bool) -> str:
    from launcher.spec.images import TRAIN, look_at
    from launcher.spec.starter import write_config

    if make_lists and folder.is_dir() and not (folder / TRAIN).exists():
        done = subprocess.run(python_command("trainer", ["make-lists", str(folder)]), check=False)
        if done.returncode:
            raise UsageError(f"--make-lists: expected lists of {folder}, got none; see above")
    return write_config(wanted, look_at(folder))


def _add_launch(source: Path, wanted: Wanted) -> str:
    from launcher.spec.starter import add_launch
    from trainer.config.document import parse_document
    from trainer.config.load import read_content

    content = read_content(source)
    document = parse_document(content, name=str(source))
    if "Launch" in document.values:
        raise UsageError(f"{source}: expected no Launch section yet, got one; submit it as it is")
    return add_launch(content.decode("utf-8"), document.values, wanted)


def _report(text: str, path: Path, *, strict: bool) -> None:
    """Say what a new config's checks say; ours must pass, somebody's own may need work.

    Raises:
        ConfigError: Ours is refused, such as for an architecture that is not known.
    """
    from launcher.spec.load import load_run_config
    from trainer.config.problems import ConfigError

    try:
        warnings = load_run_config(path, content=text.encode("utf-8")).warnings
    except ConfigError as error:
        if strict:
            raise
        warnings = tuple(error.problems)
    for problem in warnings:
        echo(str(problem), err=True)


def _save(path: Path, text: str) -> None:
    from launcher.cli.schema import schema_document
    from launcher.spec.starter import SCHEMA_FILE

    path.write_text(text, encoding="utf-8", newline="")
    schema = path.parent / SCHEMA_FILE
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(json.dumps(schema_document(), indent=2) + "\n", encoding="utf-8")
