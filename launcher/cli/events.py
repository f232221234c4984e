"""`ftlaunch events`."""

from __future__ import annotations

import dataclasses
import datetime
import json

import click

from launcher.backends.states import JobEvent
from launcher.cli.jobs import find_job, job_argument
from launcher.cli.options import output_option
from launcher.cli.printing import echo


@click.command("events")
@job_argument
@output_option("json")
def command(job: str | None, output: str) -> None:
    """Show what was noted about a job and its pods, oldest first."""
    found = find_job(job)
    events = found.backend.list_events(found.handle)
    if output == "json":
        echo(json.dumps([dataclasses.asdict(event) for event in events], indent=2))
        return
    for event in events:
        echo(describe(event))
    if not events:
        echo(f"{found.handle.job}: no events are kept of it", err=True)


def describe(event: JobEvent) -> str:
    """Write an event on one line."""
    moment = datetime.datetime.fromtimestamp(event.time_s).astimezone().strftime("%H:%M:%S")
    mark = "!" if event.is_warning else " "
    often = f" (x{event.count})" if event.count > 1 else ""
    return f"{moment} {mark} {event.about}  {event.reason}: {' '.join(event.message.split())}{often}"
