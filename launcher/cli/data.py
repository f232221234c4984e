"""`ftlaunch data`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from launcher.cli.options import Subcommands, echo_document, output_option
from launcher.cli.printing import echo, print_note, show_progress
from launcher.documents import make_document
from launcher.errors import CliExit
from launcher.jobs.data import ClaimTarget, compare_folder, push_folder

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 20


@click.group("data", cls=Subcommands, elsewhere={"report": "trainer data-report"})
def command() -> None:
    """Upload a folder to a claim of the cluster, and verify what is there.

    A pod mounts the claim meanwhile, and is deleted afterwards.
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
@output_option("json", "yaml")
def _push(folder: Path, target: str, config: Path | None, output: str, **where: Any) -> None:
    """Upload all files of DIR to a claim; files that are there already with the right hash are skipped.

    List files (`*_list.txt` in DIR, and those that the config names) are refused where a training would
    refuse them, and where a line names a file that DIR lacks.
    """
    done = push_folder(
        folder, ClaimTarget(name=target, **where), config=config, notes=print_note, progress=show_progress
    )
    size = f"{done.sent_bytes / 1e6:.1f} MB"
    echo(f"{done.sent} of {done.files} files went ({size}), the others were there", err=True)
    if output != "text":
        document = make_document(
            "data-push", folder=str(folder), target=target, files=done.files, sent=done.sent,
            sent_bytes=done.sent_bytes,
        )  # fmt: skip
        echo_document(document, output)


@command.command("check")
@_claim_options
@output_option("json", "yaml")
def _check(folder: Path, target: str, config: Path | None, output: str, **where: Any) -> int:
    """Compare all files of DIR with a claim by their hashes. Exit code 7 where one is missing or differs."""
    found = compare_folder(folder, ClaimTarget(name=target, **where), config=config, notes=print_note)
    if output == "text":
        for path in found.differ[:_SHOWN]:
            echo(f"{path}: is not there as it is here")
        if len(found.differ) > _SHOWN:
            echo(f"… and {len(found.differ) - _SHOWN} more")
    else:
        document = make_document(
            "data-check", folder=str(folder), target=target, files=found.files, ok=not found.differ,
            items=[{"path": path} for path in found.differ],
        )  # fmt: skip
        echo_document(document, output)
    there = found.files - len(found.differ)
    echo(f"{there} of {found.files} files are there, with the right hash", err=True)
    return CliExit.DIFFERS if found.differ else CliExit.OK
