"""`ftlaunch list`."""

from __future__ import annotations

import datetime
from pathlib import Path

import click

from launcher.backends.states import JobState
from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.table import format_table
from launcher.documents import format_time, make_document
from launcher.jobs.listing import ListedJob, has_jobs, list_jobs
from launcher.plan.handle import BACKENDS, BackendKind
from launcher.runs.record import RunRecord


@click.command("list")
@click.option("--on", type=click.Choice(BACKENDS), help="Show only jobs of this backend.")
@click.option("--here", is_flag=True, help="Show only jobs submitted from this project.")
@click.option(
    "--state", "wanted", multiple=True, help="Show only jobs in this state; may be repeated.",
    type=click.Choice([state.value.lower() for state in JobState], case_sensitive=False),
)  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show only the newest N jobs.")
@output_option("wide", "json", "yaml", "name")
def command(
    on: BackendKind | None, here: bool, wanted: tuple[str, ...], limit: int | None, output: str
) -> None:
    """List the jobs that were submitted from this machine, newest first."""
    rows = list_jobs(
        on=on,
        project=Path.cwd() if here else None,
        states=wanted,
        limit=limit,
        with_state=output != "name",
    )
    if output in ("json", "yaml"):
        echo_document(make_document("list", items=[_to_json(row) for row in rows]), output)
        return
    if output == "name":
        for row in rows:
            echo(row.record.handle.job)
        return
    if not rows:
        _say_why_empty(is_filtered=bool(on or here or wanted))
        return
    header = ["SUBMITTED", "STATE", "JOB"]
    table = [[_time(row.record), row.state or "", str(row.record.handle)] for row in rows]
    if output == "wide":
        header += ["RUN ID", "CONFIG"]
        table = [
            [*cells, row.record.run_id, row.record.config] for cells, row in zip(table, rows, strict=True)
        ]
    echo("\n".join(format_table(header, table)))


def _say_why_empty(*, is_filtered: bool) -> None:
    if is_filtered and has_jobs():
        echo("no job of this machine is so; `ftlaunch list` shows all", err=True)
    else:
        echo("no job was submitted from this machine yet; `ftlaunch submit --help`", err=True)


def _time(record: RunRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _to_json(row: ListedJob) -> dict[str, object]:
    record = row.record
    return {
        "handle": str(record.handle), "job": record.handle.job, "state": row.state, "run_id": record.run_id,
        "config": record.config, "project": record.project, "created": format_time(record.created_s),
    }  # fmt: skip
