"""`ftlaunch logs`."""

from __future__ import annotations

import re
import time
from typing import Literal

import click

from launcher.cli.options import job_argument, output_option
from launcher.cli.printing import LogPrinter, chooses_colour, echo, print_note
from launcher.cli.studies import find_job_or_running, running_trial_option
from launcher.cli.summary import print_end
from launcher.errors import CliExit, UsageError
from launcher.jobs.logs import LogOptions, read_logs
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.wait import exit_code
from launcher.logs.log_filter import LogFilter, parse_numbers, parse_since
from launcher.logs.log_format import LogFormat

_ALL = -1
"""Stands for every attempt."""


def _read_numbers(text: str) -> frozenset[int]:
    """Read `0,3-5`."""
    try:
        return parse_numbers(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _read_since(text: str) -> int:
    """Read `5m` or a time as nanoseconds of Unix time."""
    try:
        return parse_since(text, now_s=time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _read_attempt(text: str) -> int:
    """Read a number from 1, or `all`."""
    if text == "all":
        return _ALL
    if not re.fullmatch(r"[1-9][0-9]{0,5}", text):
        raise click.BadParameter(f"expected all or a number from 1, got {text!r}")
    return int(text)


def _read_pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression."""
    try:
        return re.compile(text)
    except re.error as error:
        raise click.BadParameter(
            f"expected a regular expression, got {text!r}: {error}; "
            "put a backslash before signs that stand for themselves"
        ) from error


@click.command("logs")
@job_argument
@click.option(
    "-f",
    "--follow",
    "follow",
    is_flag=True,
    help="Follow the log until the job ends; the exit code is that of `wait`.",
)
@click.option("--rank", "ranks", type=_read_numbers, metavar="0,3-5", help="Show only these ranks.")
@click.option(
    "--node", "nodes", type=_read_numbers, metavar="0,3-5", help="Show only these nodes and their ranks."
)
@click.option(
    "--attempt",
    type=_read_attempt,
    metavar="N|all",
    help="Show this attempt, or all attempts, instead of the current one.",
)
@click.option("--since", "since_ns", type=_read_since, metavar="5m|TIME", help="Show only lines since then.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Show only the last N lines.")
@click.option(
    "--grep",
    "pattern",
    type=_read_pattern,
    metavar="RE",
    help="Show only lines that match this regular expression.",
)
@click.option("--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("--previous", is_flag=True, help="Show the log of each pod's previous container.")
@click.option("--prefix/--no-prefix", default=True, help="Begin each line with [rank 3].")
@click.option(
    "--color",
    "colour",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Colour ranks and levels; auto does so on a terminal.",
)
@running_trial_option
@output_option("json")
def command(
    *, job: str | None, follow: bool, ranks: frozenset[int] | None, nodes: frozenset[int] | None,
    attempt: int | None, since_ns: int | None, tail: int | None, pattern: re.Pattern[str] | None,
    timestamps: bool, previous: bool, prefix: bool, colour: str, trial: int | None,
    output: Literal["text", "json"],
) -> int:  # fmt: skip
    """Show the logs of all ranks, merged by time, across restarts.

    Lines of the current attempt, unless --attempt says otherwise. What was read from a cluster is kept on
    this machine, and shown again once the pods are gone.
    """
    if previous and follow:
        raise UsageError(
            where="--previous", expected="it without --follow: nothing is added to that log any more"
        )
    found = find_job_or_running(job, trial)
    log_filter = LogFilter(
        ranks=ranks, nodes=nodes, attempt=None if attempt == _ALL else attempt, pattern=pattern, tail=tail,
        since_ns=since_ns or 0,
    )  # fmt: skip
    form = LogFormat(
        output=output, colour=chooses_colour(colour) and output == "text", timestamps=timestamps,
        prefix=prefix, attempts=attempt == _ALL,
    )  # fmt: skip
    options = LogOptions(
        log_filter=log_filter, form=form, all_attempts=attempt == _ALL or previous, previous=previous
    )
    if follow:
        return follow_log(found, options)
    read_logs(found, options, write=LogPrinter().show, notes=print_note)
    return CliExit.OK


def follow_log(job: ResolvedJob, options: LogOptions | None = None) -> int:
    """Print the job's log until it has ended and nothing new comes, and return `wait`'s exit code.

    Ctrl-C ends the printing only.
    """
    try:
        ended = read_logs(
            job, options or LogOptions(), write=LogPrinter().show, follow=True, notes=print_note
        )
    except KeyboardInterrupt:
        echo(f"\n{job.name} goes on; `ftlaunch logs -f {job.name}` to come back to its log", err=True)
        return CliExit.INTERRUPTED
    assert ended is not None
    print_end(job, ended)
    return exit_code(ended)
