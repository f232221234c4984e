"""`ftlaunch wait`."""

from __future__ import annotations

import click

from launcher.backends.states import JobState
from launcher.cli.following import WaitTimeoutError, wait_for_end
from launcher.cli.jobs import exit_code, find_job, job_argument
from launcher.cli.printing import echo
from launcher.errors import CliExit


def _read_timeout(text: str) -> float:
    from launcher.spec.scalars import parse_duration  # pydantic

    try:
        return float(parse_duration(text))
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command("wait")
@job_argument
@click.option("--timeout", type=_read_timeout, metavar="DURATION", help="Such as 10m; exits with 124.")
@click.option(
    "--for", "wanted", type=click.Choice([state.value.lower() for state in JobState], case_sensitive=False),
    help="A state to wait for; its end ends the wait as well.",
)  # fmt: skip
@click.option("--propagate", is_flag=True, help="Exit with the trainer's own code.")
def command(job: str | None, timeout: float | None, wanted: str | None, propagate: bool) -> int:
    """Wait for a job's end; the exit code says how it ended (0, 5 failed, 6 cancelled)."""
    also = JobState(wanted.capitalize()) if wanted else None
    found = find_job(job)
    try:
        status = wait_for_end(found, timeout_s=timeout, also=also)
    except WaitTimeoutError as error:
        echo(str(error), err=True)
        return CliExit.TIMEOUT
    reason = f": {status.reason}" if status.reason else ""
    echo(f"{status.handle.job}: {status.state.value}{reason}", err=True)
    if status.state is also:
        return CliExit.OK
    return exit_code(status, propagate=propagate)
