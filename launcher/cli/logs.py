"""`ftlaunch logs`."""

from __future__ import annotations

import re
import time
from typing import Literal

import click

from launcher.cli.following import follow
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.printing import wants_colour
from launcher.cli.showlogs import Request, show_logs
from launcher.errors import CliExit, UsageError
from launcher.logs.choose import Wanted, parse_numbers, parse_since
from launcher.logs.present import Form

_ALL = -1


def _numbers(text: str) -> frozenset[int]:
    try:
        return parse_numbers(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _since(text: str) -> int:
    try:
        return parse_since(text, now_s=time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _attempt(text: str) -> int:
    if text == "all":
        return _ALL
    if not text.isascii() or not text.isdigit():
        raise click.BadParameter(f"expected all or a number from 1, got {text!r}")
    return int(text)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise click.BadParameter(f"expected a regular expression, got {text!r}: {error}") from error


@click.command("logs")
@job_argument
@click.option(
    "-f", "--follow", "following", is_flag=True, help="Go on until the job ends; exits as `wait` does."
)
@click.option("--rank", "ranks", type=_numbers, metavar="0,3-5", help="Only these ranks.")
@click.option("--node", "nodes", type=_numbers, metavar="0,3-5", help="Only these nodes and their ranks.")
@click.option(
    "--attempt", type=_attempt, metavar="N|all", help="Not the current attempt, but this one, or all."
)
@click.option("--since", "since_ns", type=_since, metavar="5m|TIME", help="Only lines from then on.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--grep", "pattern", type=_pattern, metavar="RE", help="Only lines in which this is found.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("--previous", is_flag=True, help="Of each pod the container before the present one.")
@click.option("--prefix/--no-prefix", default=True, help="Put [rank 3] before each line.")
@click.option(
    "--color", "colour", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    *, job: str | None, following: bool, ranks: frozenset[int] | None, nodes: frozenset[int] | None,
    attempt: int | None, since_ns: int | None, tail: int | None, pattern: re.Pattern[str] | None,
    timestamps: bool, previous: bool, prefix: bool, colour: str, output: Literal["text", "json"],
) -> int:  # fmt: skip
    """Show every rank's lines, merged by time, across restarts.

    Those of the current attempt, unless --attempt says otherwise. What was read from a cluster is kept on
    this machine and shown again once the pods are gone.
    """
    if previous and following:
        raise UsageError("--previous: expected it without --follow: nothing is added to that log any more")
    found = find_job(job)
    wanted = Wanted(
        ranks=ranks, nodes=nodes, attempt=None if attempt == _ALL else attempt, pattern=pattern, tail=tail,
        since_ns=since_ns or 0,
    )  # fmt: skip
    form = Form(
        output=output, colour=wants_colour(colour) and output == "text", timestamps=timestamps,
        prefix=prefix, attempts=attempt == _ALL,
    )  # fmt: skip
    request = Request(wanted=wanted, form=form, all_attempts=attempt == _ALL or previous, previous=previous)
    if following:
        return follow(found, request)
    show_logs(found, request, follow=False)
    return CliExit.OK
