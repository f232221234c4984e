"""`ftlaunch events`."""

from __future__ import annotations

import datetime

import click

from launcher.backends.states import JobEvent
from launcher.cli.options import echo_document, job_argument, output_option
from launcher.cli.printing import echo
from launcher.cli.studies import find_job_or_running, running_trial_option
from launcher.cli.table import format_table
from launcher.documents import format_time, make_document
from launcher.jobs import lifecycle


@click.command("events")
@job_argument
@running_trial_option
@output_option("json")
def command(job: str | None, trial: int | None, output: str) -> None:
    """Show the events of a job and its pods, oldest first."""
    found = find_job_or_running(job, trial)
    events = lifecycle.events(found)
    if output == "json":
        items = [
            {
                "time": format_time(event.time_s), "is_warning": event.is_warning, "about": event.about,
                "reason": event.reason, "message": event.message, "count": event.count,
            }
            for event in events
        ]  # fmt: skip
        echo_document(make_document("events", job=found.name, items=items), output)
        return
    if events:
        echo(
            "\n".join(format_table(("TIME", "TYPE", "OBJECT", "EVENT"), [row_of(event) for event in events]))
        )
    else:
        echo(f"{found.name}: no events are kept of it", err=True)


def row_of(event: JobEvent) -> tuple[str, str, str, str]:
    """Return the cells of an event's row. Types are Kubernetes' own: Normal and Warning."""
    moment = datetime.datetime.fromtimestamp(event.time_s).astimezone().strftime("%H:%M:%S")
    often = f" (x{event.count})" if event.count > 1 else ""
    kind = "Warning" if event.is_warning else "Normal"
    return moment, kind, event.about, f"{event.reason}: {' '.join(event.message.split())}{often}"
