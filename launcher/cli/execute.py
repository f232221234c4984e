"""`ftlaunch exec`."""

from __future__ import annotations

import subprocess
import sys

import click

from launcher.cli.options import complete_job
from launcher.cli.studies import find_job_or_running, running_trial_option
from launcher.jobs.lifecycle import command_in


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.option(
    "--node", type=click.IntRange(min=0), default=0, show_default=True, help="Index of the pod, from 0."
)
@running_trial_option
@click.argument("job", shell_complete=complete_job)
@click.argument("arguments", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def command(node: int, trial: int | None, job: str, arguments: tuple[str, ...]) -> int:
    """Run a command in a pod of a job: `ftlaunch exec JOB -- nvidia-smi`. The exit code is the command's."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    argv = command_in(find_job_or_running(job, trial), arguments, node=node, terminal=terminal)
    return subprocess.run(argv, check=False).returncode
