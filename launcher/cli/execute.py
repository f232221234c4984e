"""`ftlaunch exec`."""

from __future__ import annotations

import subprocess
import sys

import click

from launcher.jobs.lifecycle import command_in
from launcher.jobs.resolve import find_job


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option(
    "--node", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the pod, from 0."
)
@click.argument("job")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def command(node: int, job: str, arguments: tuple[str, ...]) -> int:
    """Run a command in a pod of a job: `ftlaunch exec JOB -- nvidia-smi`. The exit code is the command's."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    argv = command_in(find_job(job), arguments, node=node, terminal=terminal)
    return subprocess.run(argv, check=False).returncode
