"""`ftlaunch wait`."""

from __future__ import annotations

import click

from launcher.backends.states import JobState
from launcher.cli.options import job_argument, plain_option
from launcher.cli.printing import can_show
from launcher.cli.studies import as_study, wait_for_study
from launcher.cli.summary import print_end
from launcher.cli.waitline import say_goes_on, wait_aloud
from launcher.errors import CliExit
from launcher.jobs.resolve import find_job
from launcher.jobs.wait import exit_code
from launcher.times import parse_duration


def _read_timeout(text: str) -> float:
    seconds = parse_duration(text)
    if seconds is None:
        raise click.BadParameter(f"expected a duration such as 90s, 10m, 24h or 7d, got {text!r:.80}")
    return seconds


@click.command("wait")
@job_argument
@click.option(
    "--timeout",
    type=_read_timeout,
    metavar="DURATION",
    help="Give up after this time, such as 10m, with exit code 124.",
)
@click.option(
    "--for", "wanted", type=click.Choice([state.value.lower() for state in JobState], case_sensitive=False),
    help="Wait for this state; the wait also ends when the job does.",
)  # fmt: skip
@click.option("--propagate", is_flag=True, help="Exit with the trainer's own exit code.")
@plain_option
def command(job: str | None, timeout: float | None, wanted: str | None, propagate: bool, plain: bool) -> int:
    """Wait until a job has ended, and show how it gets on: a live view on a terminal, else lines.

    The exit code says how it ended: 0 succeeded, 5 failed, 6 cancelled, 124 not within --timeout.
    """
    if (study := as_study(job)) is not None:
        return wait_for_study(study, timeout_s=timeout)
    also = JobState(wanted.capitalize()) if wanted else None
    found = find_job(job)
    if not plain and can_show():
        from launcher.cli.live import follow_live

        return follow_live(found, timeout_s=timeout, also=also, propagate=propagate)
    try:
        status = wait_aloud(found, timeout_s=timeout, also=also)
    except KeyboardInterrupt:
        return say_goes_on(found)
    print_end(found, status)
    if status.state is also:
        return CliExit.OK
    return exit_code(status, propagate=propagate)
