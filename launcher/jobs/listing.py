"""The jobs that were submitted from this machine, and how each stands now."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import islice
from pathlib import Path

from launcher.backends.base import Backend
from launcher.backends.factory import open_backend
from launcher.backends.states import JobState, JobStatus
from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.changes import Change, find_changes
from launcher.jobs.outcome import Outcome, describe_outcome, read_outcome
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
_BEYOND = 50
"""Older records that are looked at for the runs before the last ones that are shown."""
_FINAL = (JobState.SUCCEEDED.value, JobState.FAILED.value)


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedJob:
    """A job of the list.

    Attributes:
        record: What was submitted.
        state: A `JobState`'s value, or one of `UNKNOWN`, `GONE`, `UNSENT`; None where it was not asked for.
        outcome: How far it is and how good; None where nothing is known.
        before: The run before it: the last one of the same config, submitted earlier; None for the first.
    """

    record: RunRecord
    state: str | None
    outcome: Outcome | None = None
    before: RunRecord | None = None


def list_jobs(
    *,
    on: BackendKind | None = None,
    project: Path | None = None,
    states: Collection[str] = (),
    limit: int | None = None,
    with_state: bool = True,
    study: str | None = None,
    leave_out: Collection[str] = (),
    store: RunStore | None = None,
) -> list[ListedJob]:
    """Return the jobs that were submitted from this machine, newest first. What cannot be asked is shown too.

    Args:
        on: Only those of this kind of backend.
        project: Only those submitted from the project that this folder is in.
        states: Only those that stand so, in lower case; all where it is empty.
        limit: At most so many.
        with_state: Ask how they stand; False asks nobody anything.
        study: Only trials of this study.
        leave_out: Studies whose trials are left out: who lists them shows each study as one.
        store: Of run folders; None for this user's.
    """
    store = store or RunStore(runs_dir())
    home = None if project is None else str(project_of(project))
    chosen = (
        record
        for record in store.newest()
        if on in (None, record.handle.backend)
        and home in (None, record.project)
        and study in (None, record.study)
        and (record.study is None or record.study not in leave_out)
    )
    # what is limited is what is shown, and who is shown is known only once all were asked
    records = list(chosen if states else islice(chosen, limit))
    if not (with_state or states):
        return [ListedJob(record=record, state=None) for record in records]
    listed = look_at(records, older=chosen, store=store)
    return [job for job in listed if not states or (job.state or "").lower() in states][:limit]


def look_at(
    records: Sequence[RunRecord], *, older: Iterable[RunRecord] = (), store: RunStore
) -> list[ListedJob]:
    """Ask how these runs stand. What has ended on this machine for good is not asked again.

    Args:
        records: Newest first.
        older: Runs before them, newest first; a few are looked at for the run before the last ones.
        store: Where they were found.
    """
    found = ask_for(records, store=store)
    earlier = _runs_before(records, older)
    return [
        ListedJob(record=record, state=state, outcome=outcome, before=earlier.get(str(record.handle)))
        for record, (state, outcome) in zip(records, found, strict=True)
    ]


def recall(
    records: Sequence[RunRecord], *, older: Iterable[RunRecord] = (), store: RunStore
) -> list[ListedJob]:
    """Return these runs as they were last noted, and ask nobody; the arguments are those of `look_at`.

    The state is None where it may have changed since.
    """
    noted = [read_outcome(store.run_folder(record.handle.job)) for record in records]
    earlier = _runs_before(records, older)
    return [
        ListedJob(
            record=record,
            state=outcome.state if outcome is not None and _is_final(record, outcome) else None,
            outcome=outcome,
            before=earlier.get(str(record.handle)),
        )
        for record, outcome in zip(records, noted, strict=True)
    ]


def changes_of(job: ListedJob, *, store: RunStore | None = None) -> list[Change]:
    """Return what differs from the run before; nothing where there is none. Reads both configs."""
    if job.before is None:
        return []
    return find_changes(store or RunStore(runs_dir()), job.before, job.record)


def find_run_before(record: RunRecord, *, store: RunStore) -> RunRecord | None:
    """Return the last run of the same config that was submitted before a run; None where it is the first."""
    earlier = (
        other
        for other in store.newest()
        if other.config == record.config and other.created_s < record.created_s
    )
    return next(earlier, None)


def _runs_before(records: Sequence[RunRecord], older: Iterable[RunRecord]) -> dict[str, RunRecord]:
    """Return for each run the one before it, by handle.

    For the last ones a few older records are looked at.
    """
    found: dict[str, RunRecord] = {}
    newest: dict[str, RunRecord] = {}
    for record in (*records, *islice(older, _BEYOND)):
        if (later := newest.get(record.config)) is not None:
            found[str(later.handle)] = record
        newest[record.config] = record
    return found


def noted_gpu_hours(record: RunRecord) -> float | None:
    """Return the GPU-hours that looks at a job have noted; None where none has, and for one without GPUs."""
    from launcher.jobs.gpu_hours import read_gpu_hours

    hours = read_gpu_hours(RunStore(runs_dir()), record.handle.job)
    return None if hours is None else round(hours, 4)


def has_jobs(*, store: RunStore | None = None) -> bool:
    """Say whether any job was ever submitted from this machine."""
    return bool((store or RunStore(runs_dir())).names())


Known = tuple[str, Outcome | None]


def ask_for(records: Sequence[RunRecord], *, store: RunStore) -> list[Known]:
    """Ask how jobs stand: each by itself, or all of a place at once where that takes fewer questions.

    What has ended on this machine, and cannot be resumed, stands as it was noted.

    Returns:
        For each record a `JobState`'s value, or one of `UNKNOWN`, `GONE`, `UNSENT`, and how far it is.
    """
    # one connection a cluster, however many jobs
    backends = cache(partial(open_backend, runs_folder=store.folder))
    noted = [read_outcome(store.run_folder(record.handle.job)) for record in records]
    groups: dict[tuple[object, ...], list[RunRecord]] = {}
    for record, outcome in zip(records, noted, strict=True):
        if not _is_final(record, outcome):
            groups.setdefault(_place_of(record), []).append(record)
    told: dict[str, JobStatus | str] = {}
    for group in groups.values():
        if len(group) > _FEW or CAPABILITIES[group[0].handle.backend].is_cluster:
            told |= _ask_for_all(backends, group)
    known: list[Known] = []
    for record, outcome in zip(records, noted, strict=True):
        if outcome is not None and _is_final(record, outcome):
            known.append((outcome.state, outcome))
            continue
        status = told.get(str(record.handle)) or _look(backends, record)
        if isinstance(status, str):
            known.append((status, outcome))
            continue
        folder = store.run_folder(record.handle.job)
        seen = describe_outcome(folder, status, reads_metrics=status.state.is_terminal)
        known.append((seen.state, _put_together(seen, outcome)))
    return known


def _is_final(record: RunRecord, noted: Outcome | None) -> bool:
    on_cluster = CAPABILITIES[record.handle.backend].is_cluster
    return noted is not None and noted.state in _FINAL and not on_cluster


def _put_together(seen: Outcome, noted: Outcome | None) -> Outcome:
    """Complete what is seen now by what was noted of the same end, which may have looked closer."""
    if noted is None or noted.ended_s != seen.ended_s:
        return seen
    return replace(seen, score=noted.score or seen.score, step=noted.step if seen.step is None else seen.step)


def _place_of(record: RunRecord) -> tuple[object, ...]:
    return (record.handle.backend, record.handle.namespace, record.context, record.api)


def _ask_for_all(backends: Callable[..., Backend], group: Sequence[RunRecord]) -> dict[str, JobStatus | str]:
    """Return the status of each, or what stands for a state, by handle."""
    first = group[0]
    try:
        backend = _open(backends, first)
        listed = backend.list_jobs([record.run_id for record in group])
    except LaunchError:
        return {str(record.handle): UNKNOWN for record in group}
    found = {status.run_id: status for status in listed}
    return {str(record.handle): found.get(record.run_id) or _absent(record) for record in group}


def _absent(record: RunRecord) -> str:
    return GONE if record.stage is Stage.SUBMITTED else UNSENT


def _look(backends: Callable[..., Backend], record: RunRecord) -> JobStatus | str:
    """Ask where the job runs; what cannot be asked is shown as unknown, not left out."""
    try:
        return _open(backends, record).status(record.handle)
    except NotFoundError:
        return _absent(record)
    except LaunchError:
        return UNKNOWN


def _open(backends: Callable[..., Backend], record: RunRecord) -> Backend:
    handle = record.handle
    return backends(handle.backend, namespace=handle.namespace, context=record.context, api=record.api)
