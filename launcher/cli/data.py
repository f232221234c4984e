"""`ftlaunch data`."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from launcher.cli.prepare import current_layers
from launcher.cli.printing import echo
from launcher.cli.transferring import show_progress
from launcher.errors import CliExit, UsageError
from launcher.volumes import transfer
from launcher.volumes.lists import find_lists, lists_of, require_listed

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 20


@click.group("data")
def command() -> None:
    """Bring a folder to a claim of the cluster, and check what is there.

    A pod mounts the claim for as long as it takes, and is deleted then.
    """


def _claim_options(command: F) -> F:
    options = (
        click.argument(
            "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
        ),
        click.argument("target", metavar="CLAIM[:PATH]"),
        click.option(
            "--namespace", metavar="NAME",
            help="Namespace of the claim; by default that of the context.",
        ),
        click.option(
            "--context", metavar="NAME",
            help="Context of the kubeconfig; by default the current one.",
        ),
        click.option(
            "--image", metavar="IMAGE",
            help="Image of the pod, any with Python 3; by default the trainer's.",
        ),
        click.option("-c", "--config", metavar="FILE", type=click.Path(path_type=Path),
                     help="Config that says how the lists are read: delimiter, labels, image_root. "
                     "Without it, that is guessed."),
        click.option("--user", type=click.IntRange(min=1), default=1000, show_default=True,
                     help="User id that files are written as."),
        click.option("--group", type=click.IntRange(min=1), default=1000, show_default=True,
                     help="Group id that files are written as."),
    )  # fmt: skip
    collected: Any = command
    for option in reversed(options):
        collected = option(collected)
    return cast(F, collected)


@command.command("push")
@_claim_options
def _push(folder: Path, target: str, config: Path | None, **where: Any) -> None:
    """Bring all files of DIR to a claim; what is there already with the right hash does not go again.

    List files (`*_list.txt` in DIR, and those that the config names) are refused where a training would
    refuse them, and where a line names a file that DIR lacks.
    """
    files = _describe(folder, config)
    total = sum(file.size for file in files)
    with _open(target, read_only=False, **where) as place, show_progress(total) as progress:
        went = transfer.push(place, folder, files, progress=progress)
    size = sum(gap.file.size - gap.offset for gap in went)
    echo(f"{len(went)} of {len(files)} files went ({size / 1e6:.1f} MB), the others were there", err=True)


@command.command("check")
@_claim_options
def _check(folder: Path, target: str, config: Path | None, **where: Any) -> int:
    """Compare all files of DIR with a claim by their hashes. Exit code 7 where one is missing or differs."""
    files = _describe(folder, config)
    with _open(target, read_only=True, **where) as place:
        gaps = transfer.compare(place, files)
    for gap in gaps[:_SHOWN]:
        echo(f"{gap.file.path}: is not there as it is here")
    if len(gaps) > _SHOWN:
        echo(f"… and {len(gaps) - _SHOWN} more")
    echo(f"{len(files) - len(gaps)} of {len(files)} files are there, with the right hash", err=True)
    return CliExit.DIFFERS if gaps else CliExit.OK


def _describe(folder: Path, config: Path | None) -> list[transfer.File]:
    folder = folder.resolve()
    named = []
    if config is not None:
        from launcher.config.load import load_run_config

        named = lists_of(load_run_config(config, layers=current_layers()).job)
    lists = find_lists(folder, named)
    files = transfer.describe(folder)
    if not files:
        raise UsageError(where=folder, expected="files to bring", got="an empty folder")
    listed = require_listed(folder, lists, {file.path for file in files})
    for note in listed.notes:
        echo(f"note: {note}", err=True)
    if lists:
        echo(f"{listed.lists} lists have {listed.lines} lines, and their images are in {folder}", err=True)
    return files


def _open(
    target: str,
    *,
    read_only: bool,
    namespace: str | None,
    context: str | None,
    image: str | None,
    user: int,
    group: int,
) -> Any:
    from launcher.backends.factory import open_backend
    from launcher.runs.paths import runs_dir

    claim, _, path = target.partition(":")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not claim or ".." in parts:
        raise UsageError(where=f"{target!r}", expected="CLAIM or CLAIM:FOLDER/IN/IT")
    if (
        claim == "claim" and path and "/" not in path
    ):  # as in `claim: NAME` of a config; few claims are named so
        raise UsageError(
            where=f"{target!r}",
            expected="CLAIM or CLAIM:FOLDER",
            got="the word claim before a name",
            fix=(f"write {path!r}, or '{target}/' for the folder {path!r} of a claim that is named 'claim'"),
        )
    layers = current_layers()
    chosen = image or layers.text_of("image") or f"ftlaunch-trainer:{metadata.version('ftlaunch')}-cpu"
    backend = open_backend(
        "kubernetes", runs_folder=runs_dir(), context=context or layers.text_of("context"),
        namespace=namespace or layers.text_of("namespace"),
    )  # fmt: skip
    return backend.open_claim(
        claim, "/".join(parts), image=chosen, run_as={"user": user, "group": group, "fs_group": group},
        read_only=read_only,
    )  # fmt: skip
