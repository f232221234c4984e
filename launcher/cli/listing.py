"""`ftlaunch list`."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from functools import cache, partial

import click

from launcher.backends.base import Backend
from launcher.cli.jobs import open_backend
from launcher.cli.options import output_option
from launcher.errors import LaunchError
from launcher.runs.places import runs_dir
from launcher.runs.record import RunRecord
from launcher.runs.store import RunStore


@click.command("list")
@output_option("json", "name")
def command(output: str) -> None:
    """List the jobs that were submitted from this machine, newest first."""
    store = RunStore(runs_dir())
    records = store.runs()
    if output == "name":
        for record in records:
            click.echo(record.handle.job)
        return
    backends = cache(partial(open_backend, store=store))  # one connection a cluster, however many jobs
    rows = [(record, _state(backends, record)) for record in records]
    if output == "json":
        click.echo(json.dumps([_to_json(record, state) for record, state in rows], indent=2))
        return
    for record, state in rows:
        click.echo(f"{_time(record)}  {state:<10}  {record.handle}")


def _state(backends: Callable[..., Backend], record: RunRecord) -> str:
    """Ask where the job runs; what cannot be asked is shown as unknown, not left out."""
    handle = record.handle
    try:
        backend = backends(handle.backend, namespace=handle.namespace, context=record.context)
        return backend.status(handle).state.value
    except LaunchError:
        return "Unknown"


def _time(record: RunRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _to_json(record: RunRecord, state: str) -> dict[str, object]:
    return {
        "handle": str(record.handle), "job": record.handle.job, "state": state, "run_id": record.run_id,
        "config": record.config, "project": record.project, "created_s": record.created_s,
    }  # fmt: skip
