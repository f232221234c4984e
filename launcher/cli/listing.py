"""`ftlaunch list`."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import islice
from pathlib import Path

import click

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.backends.states import JobState
from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.table import format_table
from launcher.errors import LaunchError, NotFoundError
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BACKENDS
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore

UNKNOWN, GONE, UNSENT = "Unknown", "Gone", "Unsent"
"""What stands for a state where there is none: the place does not answer, the job is there no more, its
submit was cut off before it arrived."""
_FEW = 50
"""Jobs of this machine that are asked for one by one; for more, all of the place are asked for at once."""


@click.command("list")
@click.option("--on", type=click.Choice(BACKENDS), help="Show only jobs of this place.")
@click.option("--here", is_flag=True, help="Show only jobs submitted from this project.")
@click.option(
    "--state", "wanted", multiple=True, help="Show only jobs in this state; may be repeated.",
    type=click.Choice([state.value.lower() for state in JobState], case_sensitive=False),
)  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show only the newest N jobs.")
@output_option("wide", "json", "yaml", "name")
def command(on: str | None, here: bool, wanted: tuple[str, ...], limit: int | None, output: str) -> None:
    """List the jobs that were submitted from this machine, newest first."""
    store = RunStore(runs_dir())
    project = str(project_of(Path.cwd()))
    chosen = (
        record
        for record in store.newest()
        if on in (None, record.handle.backend) and (not here or record.project == project)
    )
    records = list(chosen if wanted else islice(chosen, limit))
    if not wanted and output == "name":
        if records:
            echo("\n".join(record.handle.job for record in records))
        return
    backends = cache(
        partial(open_backend, runs_folder=store.folder)
    )  # one connection a cluster, however many jobs
    rows = list(zip(records, _states(backends, records), strict=True))
    rows = [(record, state) for record, state in rows if not wanted or state.lower() in wanted][:limit]
    if output in ("json", "yaml"):
        echo_document([_to_json(record, state) for record, state in rows], output)
        return
    if output == "name":
        for record, _ in rows:
            echo(record.handle.job)
        return
    if not rows:
        _say_why_empty(store, is_filtered=bool(on or here or wanted))
        return
    header = ["SUBMITTED", "STATE", "JOB"]
    table = [[_time(record), state, str(record.handle)] for record, state in rows]
    if output == "wide":
        header += ["RUN ID", "CONFIG"]
        table = [[*row, record.run_id, record.config] for row, (record, _) in zip(table, rows, strict=True)]
    echo("\n".join(format_table(header, table)))


def _say_why_empty(store: RunStore, *, is_filtered: bool) -> None:
    if is_filtered and store.names():
        echo("no job of this machine is so; `ftlaunch list` shows all", err=True)
    else:
        echo("no job was submitted from this machine yet; `ftlaunch submit --help`", err=True)


def _states(backends: Callable[..., Backend], records: Sequence[RunRecord]) -> list[str]:
    """Ask for each job, or for all of a place at once where that takes fewer questions."""
    groups: dict[tuple[object, ...], list[RunRecord]] = {}
    for record in records:
        groups.setdefault(_place_of(record), []).append(record)
    known: dict[str, str] = {}
    for group in groups.values():
        if len(group) > _FEW or CAPABILITIES[group[0].handle.backend].is_cluster:
            known |= _ask_for_all(backends, group)
    return [known.get(str(record.handle)) or _state(backends, record) for record in records]


def _place_of(record: RunRecord) -> tuple[object, ...]:
    return (record.handle.backend, record.handle.namespace, record.context, record.api)


def _ask_for_all(backends: Callable[..., Backend], group: Sequence[RunRecord]) -> dict[str, str]:
    first = group[0]
    try:
        backend = _open(backends, first)
        listed = backend.list_jobs([record.run_id for record in group])
    except LaunchError:
        return {str(record.handle): UNKNOWN for record in group}
    found = {status.run_id: status.state.value for status in listed}
    return {str(record.handle): found.get(record.run_id) or _absent(record) for record in group}


def _absent(record: RunRecord) -> str:
    return GONE if record.stage is Stage.SUBMITTED else UNSENT


def _state(backends: Callable[..., Backend], record: RunRecord) -> str:
    """Ask where the job runs; what cannot be asked is shown as unknown, not left out."""
    try:
        return _open(backends, record).status(record.handle).state.value
    except NotFoundError:
        return _absent(record)
    except LaunchError:
        return UNKNOWN


def _open(backends: Callable[..., Backend], record: RunRecord) -> Backend:
    handle = record.handle
    return backends(handle.backend, namespace=handle.namespace, context=record.context, api=record.api)


def _time(record: RunRecord) -> str:
    return datetime.datetime.fromtimestamp(record.created_s).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _to_json(record: RunRecord, state: str) -> dict[str, object]:
    return {
        "handle": str(record.handle), "job": record.handle.job, "state": state, "run_id": record.run_id,
        "config": record.config, "project": record.project, "created_s": record.created_s,
    }  # fmt: skip
