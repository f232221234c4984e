"""`ftlaunch ckpt`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from launcher.cli.jobs import find_job, job_argument
from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.table import format_table
from launcher.cli.transferring import show_progress
from launcher.errors import CliExit, NotFoundError, UsageError
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest
from launcher.runs.store import MANIFEST
from launcher.volumes import transfer
from launcher.volumes.checkpoints import Listed, choose, list_checkpoints
from launcher.volumes.place import Place, VolumeError
from trainer.protocol.environment import NODE_FILE
from trainer.protocol.layout import MANIFEST as CHECKPOINT_MANIFEST
from trainer.protocol.nodefile import parse_node_file
from trainer.protocol.safe_files import replace_file


@click.group("ckpt")
def command() -> None:
    """List, fetch and check the checkpoints of a job, while it runs and afterwards.

    On Kubernetes through its first pod, else through a pod that mounts its volumes for as long as it takes.
    """


@command.command("ls")
@job_argument
@output_option("json", "yaml", "name")
def _ls(job: str | None, output: str) -> None:
    """List the checkpoints, the furthest first. Sizes are compared with each manifest, hashes are not."""
    with _output_folder(job) as (_, place):
        found = list_checkpoints(place)
    if output in ("json", "yaml"):
        echo_document([_to_json(item) for item in found], output)
        return
    if output == "name":
        for item in found:
            echo(str(item.name))
        return
    if not found:
        echo("no checkpoint is there yet", err=True)
        return
    header = ("CHECKPOINT", "MB", "FILES", "MARKS", "CONDITION")
    echo("\n".join(format_table(header, [_row(item) for item in found], right="MB FILES")))


@command.command("pull")
@job_argument
@click.option(
    "--checkpoint", "wanted", metavar="NAME|latest|best", default="latest", show_default=True,
    help="Checkpoint to fetch, as `ckpt ls` names it.",
)  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Where its files go; `JOB-CHECKPOINT` where it is not given.",
)  # fmt: skip
def _pull(job: str | None, wanted: str, target: Path | None) -> None:
    """Fetch a checkpoint's files; what is here already with the right hash does not come again."""
    with _output_folder(job) as (handle, place):
        item = choose(list_checkpoints(place), wanted)
        while True:
            if item.fault:
                raise NotFoundError(
                    where=item.name, expected="a whole checkpoint", got=f"a fault: {item.fault}"
                )
            to = target or Path(f"{handle.job}-{item.name}")
            _spare(to, item)
            try:
                with show_progress(item.size_bytes) as progress:
                    came = transfer.pull(place, item.files, within=item.within, to=to, progress=progress)
                break
            except (VolumeError, NotFoundError):
                now = choose(list_checkpoints(place), wanted)
                if now.name == item.name:
                    raise
                item = now  # the job goes on: it has saved another one, and deleted this one
    replace_file(to / CHECKPOINT_MANIFEST, item.manifest.encode("utf-8"))
    echo(f"{len(came)} of {len(item.files)} files came, all have the right hash", err=True)
    echo(str(to))


def _spare(to: Path, item: Listed) -> None:
    """Have files of the user's own stay: only a folder that holds a checkpoint already gets another one.

    Raises:
        UsageError: A file of the same name, with other content, is there.
    """
    if (to / CHECKPOINT_MANIFEST).is_file():
        return
    mine = [file.path for file in item.files if (to / file.path).exists() and not transfer.is_there(to, file)]
    if mine:
        raise UsageError(
            where=to,
            expected="no files of your own under the names of the checkpoint's",
            got=", ".join(mine),
            fix="name another folder with --to",
        )


@command.command("verify")
@job_argument
@click.option(
    "--checkpoint", "wanted", metavar="NAME|latest|best", help="Verify only this checkpoint; by default all."
)
def _verify(job: str | None, wanted: str | None) -> int:
    """Read every file and compare it with its manifest. Exit code 7 where one differs."""
    with _output_folder(job) as (_, place):
        found = list_checkpoints(place, hashes=True)
    chosen = found if wanted is None else [choose(found, wanted)]
    for item in chosen:
        echo(f"{item.name}  {item.fault or 'whole: every hash is right'}")
    return CliExit.DIFFERS if any(item.fault for item in chosen) else CliExit.OK


@contextmanager
def _output_folder(text: str | None) -> Iterator[tuple[Handle, Place]]:
    found = find_job(text)
    path = found.store.run_folder(found.handle.job) / MANIFEST
    manifest = parse_manifest(path.read_text(encoding="utf-8"))
    output_dir = parse_node_file(manifest.config_map["data"][NODE_FILE]).output_dir
    with found.backend.open_folder(found.handle, output_dir, manifest=manifest) as place:
        yield found.handle, place


def _row(item: Listed) -> tuple[str, ...]:
    marks = " ".join(mark for mark, holds in (("latest", item.is_latest), ("best", item.is_best)) if holds)
    size = f"{item.size_bytes / 1e6:.1f}"
    return str(item.name), size, str(len(item.files)), marks, item.fault or "whole"


def _to_json(item: Listed) -> dict[str, object]:
    """Write a checkpoint for programs. Keys are only ever added."""
    return {
        "name": str(item.name), "epoch": item.name.epoch, "step": item.name.step, "run_id": item.run_id,
        "latest": item.is_latest, "best": item.is_best, "bytes": item.size_bytes,
        "files": [file.path for file in item.files], "fault": item.fault or None,
    }  # fmt: skip
