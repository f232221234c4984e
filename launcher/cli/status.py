"""`ftlaunch status`."""

from __future__ import annotations

import datetime
import json

import click

from launcher.backends.base import JobStatus
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.options import output_option
from trainer.protocol.progress import Progress


@click.command("status")
@job_argument
@output_option("json")
def command(job: str | None, output: str) -> None:
    """Show how a job stands: state, nodes, progress, the last checkpoint."""
    status = (found := find_job(job)).backend.status(found.handle)
    click.echo(json.dumps(to_json(status), indent=2) if output == "json" else describe(status))


def describe(status: JobStatus) -> str:
    """Write a status for people."""
    lines = [f"{status.handle}  {status.state.value}" + (f"  {status.reason}" if status.reason else "")]
    if status.progress is not None:
        lines.append(describe_progress(status.progress))
    lines += [
        f"  {pod.pod}  {pod.state.value}"
        + (f"  restarts {pod.restarts}" if pod.restarts else "")
        + (f"  exit {pod.exit_code}" if pod.exit_code is not None else "")
        + (f"  {pod.reason}" if pod.reason else "")
        for pod in status.pods
    ]
    end = status.termination
    if end is not None and end.checkpoint:
        lines.append(f"  last checkpoint: {end.checkpoint}")
    return "\n".join(lines)


def describe_progress(progress: Progress) -> str:
    """Write the state of all ranks on one line."""
    if not progress.ranks:
        return "  no rank has reported yet"
    slowest = min(progress.ranks, key=lambda rank: rank.step)
    total = f" of {progress.total_steps}" if progress.total_steps else ""
    parts = [f"epoch {slowest.epoch + 1}", f"step {slowest.step}{total}", slowest.phase]
    if slowest.loss is not None:
        parts.append(f"loss {slowest.loss:.4g}")
    rates = [rank.images_per_s for rank in progress.ranks if rank.images_per_s is not None]
    if rates:
        parts.append(f"{sum(rates):.0f} images/s")
    if len(progress.ranks) < progress.world_size:
        parts.append(f"{len(progress.ranks)} of {progress.world_size} ranks have reported")
    return "  " + ", ".join(parts)


def to_json(status: JobStatus) -> dict[str, object]:
    """Write a status for programs. Keys are only ever added."""
    progress, end = status.progress, status.termination
    return {
        "schema": 1,
        "handle": str(status.handle),
        "job": status.handle.job,
        "run_id": status.run_id,
        "state": status.state.value,
        "reason": status.reason,
        "created": _time(status.created_s),
        "ended": _time(status.ended_s),
        "exit": end.exit if end is not None else None,
        "checkpoint": end.checkpoint if end is not None else None,
        "step": min((rank.step for rank in progress.ranks), default=None) if progress else None,
        "total_steps": (progress.total_steps or None) if progress else None,
        "pods": [
            {
                "pod": pod.pod, "node": pod.node, "state": pod.state.value, "restarts": pod.restarts,
                "exit": pod.exit_code, "reason": pod.reason,
            }
            for pod in status.pods
        ],
    }  # fmt: skip


def _time(unix_s: float | None) -> str | None:
    if unix_s is None:
        return None
    moment = datetime.datetime.fromtimestamp(unix_s, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
