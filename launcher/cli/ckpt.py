"""`ftlaunch ckpt`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.options import Subcommands, echo_document, job_argument, output_option
from launcher.cli.printing import echo, show_progress
from launcher.cli.studies import find_job_or_best, trial_option
from launcher.cli.table import format_table
from launcher.documents import make_document
from launcher.errors import CliExit
from launcher.jobs.checkpoints import find_checkpoints, pull_checkpoint, verify_checkpoints
from launcher.volumes.checkpoints import CheckpointInfo


@click.group("ckpt", cls=Subcommands, elsewhere={"average": "trainer ckpt average"})
def command() -> None:
    """List, download and verify the checkpoints of a job, while it runs and afterwards.

    On Kubernetes through its first pod, else through a pod that mounts its volumes for as long as it takes.
    """


@command.command("ls")
@job_argument
@trial_option
@output_option("json", "yaml", "name")
def _ls(job: str | None, trial: int | None, output: str) -> None:
    """List the checkpoints, the furthest first. Sizes are compared with each manifest, hashes are not."""
    found = find_checkpoints(find_job_or_best(job, trial))
    if output in ("json", "yaml"):
        echo_document(make_document("ckpt-ls", items=[_to_json(item) for item in found]), output)
        return
    if output == "name":
        for item in found:
            echo(str(item.name))
        return
    if not found:
        echo("no checkpoint is there yet", err=True)
        return
    header = ("CHECKPOINT", "MB", "FILES", "MARKS", "METRIC", "KEPT FOR", "CONDITION")
    echo("\n".join(format_table(header, [_row(item) for item in found], right="MB FILES METRIC")))


@command.command("pull")
@job_argument
@trial_option
@click.option(
    "--checkpoint", "wanted", metavar="NAME|latest|best", default="latest", show_default=True,
    help="Checkpoint to download, as `ckpt ls` names it.",
)  # fmt: skip
@click.option(
    "--to", "target", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Target folder; by default JOB-CHECKPOINT.",
)  # fmt: skip
def _pull(job: str | None, trial: int | None, wanted: str, target: Path | None) -> None:
    """Download a checkpoint; files that are here already with the right hash are skipped."""
    pulled = pull_checkpoint(find_job_or_best(job, trial), wanted, to=target, progress=show_progress)
    echo(f"{pulled.fetched} of {pulled.files} files came, all have the right hash", err=True)
    echo(str(pulled.folder))


@command.command("verify")
@job_argument
@trial_option
@click.option(
    "--checkpoint", "wanted", metavar="NAME|latest|best", help="Verify only this checkpoint; by default all."
)
@output_option("json", "yaml")
def _verify(job: str | None, trial: int | None, wanted: str | None, output: str) -> int:
    """Read every file and compare it with its manifest. Exit code 7 where one differs."""
    chosen = verify_checkpoints(find_job_or_best(job, trial), wanted)
    is_whole = not any(item.fault for item in chosen)
    if output in ("json", "yaml"):
        items = [{"name": str(item.name), "fault": item.fault or None} for item in chosen]
        echo_document(make_document("ckpt-verify", ok=is_whole, items=items), output)
    else:
        for item in chosen:
            echo(f"{item.name}  {item.fault or 'whole: every hash is right'}")
    return CliExit.OK if is_whole else CliExit.DIFFERS


def _row(item: CheckpointInfo) -> tuple[str, ...]:
    marks = " ".join(mark for mark, holds in (("latest", item.is_latest), ("best", item.is_best)) if holds)
    size = f"{item.size_bytes / 1e6:.1f}"
    metric = "" if item.metric is None else f"{item.metric:.5f}"
    kept = " ".join(item.kept)
    return str(item.name), size, str(len(item.files)), marks, metric, kept, item.fault or "whole"


def _to_json(item: CheckpointInfo) -> dict[str, object]:
    """Write a checkpoint for programs. Keys are only ever added."""
    return {
        "name": str(item.name), "epoch": item.name.epoch, "step": item.name.step, "run_id": item.run_id,
        "latest": item.is_latest, "best": item.is_best, "bytes": item.size_bytes,
        "files": [file.path for file in item.files], "fault": item.fault or None,
        "metric": item.metric, "kept": list(item.kept),
    }  # fmt: skip
