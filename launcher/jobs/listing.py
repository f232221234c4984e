"""The jobs that were submitted from this machine, and how each stands now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from pathlib import Path

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.errors import LaunchError, NotFoundError
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore

UNKNOWN, GONE, UNSENT = "Unknown", "Gone", "Unsent"
"""What stands for a state where there is none: the place does not answer, the job is there no more, its
submit was cut off before it arrived."""
_FEW = 50
"""Jobs of this machine that are asked for one by one; for more, all of the place are asked for at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedJob:
    """A job of the list.

    Attributes:
        record: What was submitted.
        state: A `JobState`'s value, or one of `UNKNOWN`, `GONE`, `UNSENT`; None where it was not asked for.
    """

    record: RunRecord
    state: str | None


def list_jobs(
    *,
    on: BackendKind | None = None,
    project: Path | None = None,
    states: Collection[str] = (),
    limit: int | None = None,
    with_state: bool = True,
    store: RunStore | None = None,
) -> list[ListedJob]:
    """Return the jobs that were submitted from this machine, newest first. What cannot be asked is shown too.

    Args:
        on: Only those of this kind of backend.
        project: Only those submitted from the project that this folder is in.
        states: Only those that stand so, in lower case; all where it is empty.
        limit: At most so many.
        with_state: Ask how they stand; False asks nobody anything.
        store: Of run folders; None for this user's.
    """
    store = store or RunStore(runs_dir())
    home = None if project is None else str(project_of(project))
    chosen = (
        record
        for record in store.newest()
        if on in (None, record.handle.backend) and home in (None, record.project)
    )
    # what is limited is what is shown, and who is shown is known only once all were asked
    records = list(chosen if states else islice(chosen, limit))
    if not (with_state or states):
        return [ListedJob(record=record, state=None) for record in records]
    # one connection a cluster, however many jobs
    backends = cache(partial(open_backend, runs_folder=store.folder))
    listed = [
        ListedJob(record=record, state=state)
        for record, state in zip(records, _states(backends, records), strict=True)
        if not states or state.lower() in states
    ]
    return listed[:limit]


def noted_gpu_hours(record: RunRecord) -> float | None:
    """Return the GPU-hours that looks at a job have noted; None where none has, and for one without GPUs."""
    from launcher.jobs.gpu_hours import read_gpu_hours

    hours = read_gpu_hours(RunStore(runs_dir()), record.handle.job)
    return None if hours is None else round(hours, 4)


def has_jobs(*, store: RunStore | None = None) -> bool:
    """Say whether any job was ever submitted from this machine."""
    return bool((store or RunStore(runs_dir())).names())


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
