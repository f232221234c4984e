"""`ftlaunch resume`."""

from __future__ import annotations

import click

from launcher.cli.jobs import find_job, job_argument


@click.command("resume")
@job_argument
def command(job: str | None) -> None:
    """Take a cancelled, suspended or lost job up again, from its last checkpoint."""
    found = find_job(job)
    found.backend.resume(found.handle)
    click.echo(f"{found.handle.job}: goes on; `ftlaunch logs -f {found.handle.job}` shows it", err=True)
