"""`ftlaunch logs`."""

from __future__ import annotations

import re
import sys
from typing import Literal

import click

from launcher.cli.following import follow
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.showlogs import LogView
from launcher.errors import CliExit
from launcher.logs.choose import Wanted, parse_numbers
from launcher.logs.present import Form


def _numbers(text: str) -> frozenset[int]:
    try:
        return parse_numbers(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _attempt(text: str) -> int | None:
    if text == "all":
        return None
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
@click.option("--attempt", type=_attempt, default="all", show_default=True, metavar="N|all")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines.")
@click.option("--grep", "pattern", type=_pattern, metavar="RE", help="Only lines in which this is found.")
@click.option("--timestamps", is_flag=True, help="Put the time before each line.")
@click.option("--prefix/--no-prefix", default=True, help="Put [rank 3] before each line.")
@click.option(
    "--color", "colour", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def command(
    *, job: str | None, following: bool, ranks: frozenset[int] | None, nodes: frozenset[int] | None,
    attempt: int | None, tail: int | None, pattern: re.Pattern[str] | None, timestamps: bool, prefix: bool,
    colour: str, output: Literal["text", "json"],
) -> int:  # fmt: skip
    """Show every rank's lines, merged by time, across restarts."""
    found = find_job(job)
    wanted = Wanted(ranks=ranks, nodes=nodes, attempt=attempt, pattern=pattern, tail=tail)
    coloured = colour == "always" or (colour == "auto" and sys.stdout.isatty())
    form = Form(output=output, colour=coloured, timestamps=timestamps, prefix=prefix)
    view = LogView(found, wanted, form)
    if following:
        return follow(found, view)
    view.close()
    return CliExit.OK
