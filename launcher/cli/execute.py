"""`ftlaunch exec`."""

from __future__ import annotations

import subprocess
import sys

import click

from launcher.cli.jobs import find_job
from launcher.errors import UsageError


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option(
    "--node", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the pod, from 0."
)
@click.argument("job")
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def command(node: int, job: str, arguments: tuple[str, ...]) -> int:
    """Run a command in a pod of a job: `ftlaunch exec JOB -- nvidia-smi`. The exit code is the command's."""
    found = find_job(job)
    status = found.backend.status(found.handle)
    if status.state.is_terminal or node >= len(status.pods):
        raise UsageError(
            where=found.handle.job, expected=f"a running job with a node {node}", got=status.state.value
        )
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    argv = found.backend.command_in(found.handle, node=node, command=arguments, terminal=terminal)
    return subprocess.run(argv, check=False).returncode
