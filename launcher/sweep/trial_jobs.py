"""The jobs of trials: which there are to be, started exactly once, looked at, stopped.

A job's name and run id follow from the study's id, the trial's number and the job's label, so that two
drivers, or one that was killed and begins anew, mean the same job. That it is started once is then what
`launcher.jobs.submit` does for every job: the record is written before the first request, and a second
submit of the same run finds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import posixpath
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError, TakenError
from launcher.jobs import lifecycle
from launcher.jobs.listing import ask_for
from launcher.jobs.metrics import Row, choose_metric, is_number, read_metrics, read_metrics_here
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.options import SubmitOptions
from launcher.jobs.recovery import reconcile
from launcher.jobs.resolve import ResolvedJob, open_job
from launcher.jobs.training_log import TrainingLog
from launcher.plan.capabilities import CAPABILITIES
from launcher.runs.paths import runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.sweep.machine import Place
from launcher.sweep.space import Repeat, overrides_of
from launcher.sweep.study import Settings, Study, options_from_json
from launcher.sweep.trials import Trial
from trainer.protocol.lastrun import JOB_MARK

ABSENT = "Absent"
"""Stands for the state of a job that was never submitted."""
_LOG_BYTES = 256 * 1024
_SETTLE_S, _SETTLE_STEP_S = 5.0, 0.25
"""How long a job whose submit was cut off is given to appear before it is submitted anew: what would make
it may have been started just then."""
_SUBMITS = 3
_NOT_VALUES = ("event", "attempt", "time_s", "epoch", "step", "iter", "samples")
_AVERAGED = "ema_"


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialJob:
    """A job that there is to be.

    Attributes:
        number: Of its trial, from 0.
        name: Of the job.
        run_id: 32 hexadecimal digits.
    """

    number: int
    repeat: Repeat
    name: str
    run_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A job of a trial at one look.

    Attributes:
        state: A `JobState`'s value, `Unknown` or `Gone` as in lists, or `ABSENT`.
        curve: Value of the study's metric by epochs completed.
        measured: Names of what the evaluations give.
        reason: How it ended; empty where there is nothing to say.
    """

    state: str
    curve: Mapping[int, float] = field(default_factory=dict)
    measured: tuple[str, ...] = ()
    reason: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more by itself."""
        return self.state in _OVER


_OVER = {state.value for state in JobState if state.is_terminal} | {"Gone"}


class JobPort(Protocol):
    """What a driver does with jobs."""

    def start(self, trial: Trial, job: TrialJob, *, place: Place) -> None:
        """Have a job run, exactly once, however often this is called."""

    def look(self, jobs: Sequence[TrialJob]) -> dict[str, Seen]:
        """Return how jobs stand, by name."""

    def stop(self, job: TrialJob) -> None:
        """Have a job save and stop."""

    def resume(self, job: TrialJob) -> None:
        """Take a job up again from its last checkpoint."""


def trial_name(study: str, number: int) -> str:
    """Return how the jobs of a trial are called: `<study>-t007`; counted from 1, as people do."""
    return f"{study}-t{number + 1:03}"


def jobs_of(study: Study, number: int) -> tuple[TrialJob, ...]:
    """Return the jobs of a trial, in the order in which they are started."""
    return tuple(_job_of(study.settings, number, repeat) for repeat in study.space.repeats)


def _job_of(settings: Settings, number: int, repeat: Repeat) -> TrialJob:
    label = f"-{repeat.label}" if repeat.label else ""
    seed = f"{settings.study_id}/{number}/{repeat.label}"
    return TrialJob(
        number=number, repeat=repeat, name=trial_name(settings.name, number) + label,
        run_id=hashlib.sha256(seed.encode()).hexdigest()[:32],
    )  # fmt: skip


def options_of(study: Study, trial: Trial, job: TrialJob, *, place: Place) -> SubmitOptions:
    """Return what a job of a trial is submitted with.

    Raises:
        ConfigError: The config has no place for what is varied.
        UsageError: The same, of lists.
    """
    settings = study.settings
    content = study.config.read_bytes()
    varied = overrides_of(trial.params, job.repeat, content=content, name=settings.config)
    output = f"Global.output_dir={_output_dir(study, job)!r}"
    given = options_from_json(settings.options)
    if place.gpu_ids is not None:
        given |= {"gpu_ids": place.gpu_ids, "gpus": None}
    return SubmitOptions(
        **given, on=settings.on, name=job.name, run_id=job.run_id, study=settings.name,
        overrides=(*settings.overrides, *varied, output),
    )  # fmt: skip


def _output_dir(study: Study, job: TrialJob) -> str:
    """Return where a job writes: below the config's folder, in one of its study's with one of its own.

    Where the volume has a folder for each job already (`sub_path: "{job}"`), that is the config's folder.
    """
    values, base = _read_output(study.settings, study.config.read_bytes())
    if _mounts_folder_a_job(values.get("Launch"), base):
        return base
    return posixpath.join(base, study.name, job.name.removeprefix(f"{study.name}-"))


def has_folder_a_job(settings: Settings, content: bytes) -> bool:
    """Tell whether a config's volume has a folder for each job (`sub_path: "{job}"`).

    Args:
        settings: Of the study.
        content: Of the config.
    """
    values, base = _read_output(settings, content)
    return _mounts_folder_a_job(values.get("Launch"), base)


def _read_output(settings: Settings, content: bytes) -> tuple[Mapping[Any, object], str]:
    """Return a config's values, and where its trials write as its study was asked for."""
    from trainer.config.document import parse_document
    from trainer.config.overrides import parse_override

    values = parse_document(content, name=settings.config).values
    section = values.get("Global")
    found = section.get("output_dir") if isinstance(section, dict) else None
    for text in settings.overrides:
        override = parse_override(text)
        found = override.value if override.path == ("Global", "output_dir") else found
    return values, found if isinstance(found, str) and found else "./output/"


def _mounts_folder_a_job(launch: object, path: str) -> bool:
    """Tell whether `Launch.volumes` mounts a folder of its own for each job, in which a path lies."""
    volumes = launch.get("volumes") if isinstance(launch, dict) else None
    around = [
        volume for volume in (volumes if isinstance(volumes, list) else ())
        if isinstance(volume, dict) and (mount := volume.get("mount")) and isinstance(mount, str)
        and (path == mount or path.startswith(mount.rstrip("/") + "/"))
    ]  # fmt: skip
    inner = max(around, key=lambda volume: len(str(volume["mount"])), default={})
    return JOB_MARK in str(inner.get("sub_path") or "")


class LaunchedJobs:
    """Jobs as `launcher.jobs` runs them."""

    def __init__(self, study: Study, *, notes: Notes = ignore, is_mounted: bool = False) -> None:
        """`is_mounted`: the jobs' output lies here at the same path as in their pods."""
        self._study, self._is_mounted = study, is_mounted
        self._store = RunStore(runs_dir())
        self._notes = notes

    def start(self, trial: Trial, job: TrialJob, *, place: Place) -> None:
        """See `JobPort.start`.

        Raises:
            TakenError: Somebody else's job has the name.
            LaunchError: As of `submit`.
        """
        from launcher.jobs.submit import submit  # with YAML and pydantic, which a look does without

        options = options_of(self._study, trial, job, place=place)
        command = (*self._study.settings.command, job.name)
        notes = self._notes if not trial.number else self._warnings
        for tries_left in reversed(range(_SUBMITS)):
            if self._is_there(job):
                return
            try:
                submit(self._study.config, options, notes=notes, command=command)
            except TakenError:
                # by a driver that was killed just now: what it began is looked at first, and forgotten
                if not tries_left and not self._is_there(job):
                    raise
            else:
                return

    def _warnings(self, note: Note) -> None:
        """Hand on warnings alone: what the first trial's submit says, the others' say too."""
        if note.level == "warning":
            self._notes(note)

    def _is_there(self, job: TrialJob) -> bool:
        """Say whether a job was submitted; finish or forget a submit that was cut off.

        Raises:
            TakenError: The name is another run's.
        """
        record = self._load(job)
        if record is None:
            return False
        if record.stage is Stage.SUBMITTED:
            return True
        backend = open_job(record, store=self._store).backend
        until_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < until_s:
            try:
                backend.negotiate(record.api).status(record.handle)
                break
            except NotFoundError:
                time.sleep(_SETTLE_STEP_S)
        with self._store.lock(job.name):
            if (record := self._load(job)) is not None:
                reconcile(record, backend=backend, store=self._store)
        return self._load(job) is not None

    def _load(self, job: TrialJob) -> RunRecord | None:
        record = self._store.load(job.name)
        if record is not None and record.run_id != job.run_id:
            raise TakenError(
                where=job.name, expected="the job of this study", got="that of another run",
                fix=f"`ftlaunch delete {job.name}`",
            )  # fmt: skip
        return record

    def look(self, jobs: Sequence[TrialJob]) -> dict[str, Seen]:
        """See `JobPort.look`. Of a cluster two requests for all, and one for the log of each that runs."""
        records = {job.name: record for job in jobs if (record := self._load(job)) is not None}
        # a submit that may be under way is nothing to look at yet
        asked = [record for record in records.values() if record.stage is Stage.SUBMITTED]
        states = ask_for(asked, store=self._store)
        found = {job.name: Seen(state=ABSENT) for job in jobs}
        for record, (state, outcome) in zip(asked, states, strict=True):
            del outcome
            found[record.handle.job] = self._see(record, state)
        return found

    def _see(self, record: RunRecord, state: str) -> Seen:
        rows: list[Row] = []
        # where a pod is the driver, it has published what they measure
        if state != JobState.SUBMITTED.value and not self._study.is_remote:
            with contextlib.suppress(LaunchError):
                rows = self._read_rows(record, state)
        settings = self._study.settings
        reason = self._reason(record) if state in (JobState.FAILED.value, JobState.LOST.value) else ""
        return Seen(
            state=state,
            curve=read_curve(rows, settings.metric, goal=settings.goal),
            measured=names_measured(rows),
            reason=reason,
        )

    def _read_rows(self, record: RunRecord, state: str) -> list[Row]:
        if self._is_mounted or not CAPABILITIES[record.handle.backend].is_cluster:
            rows = read_metrics_here(self._store.run_folder(record.handle.job), is_mounted=self._is_mounted)
            if rows:
                return rows
        if state not in _STARTED:
            return []
        job = open_job(record, store=self._store)
        rows = _rows_of_log(job)
        if rows or state != JobState.SUCCEEDED.value:
            return rows
        return read_metrics(job)  # its pods are gone with their logs; the volume has it all

    def _reason(self, record: RunRecord) -> str:
        job = open_job(record, store=self._store)
        with contextlib.suppress(LaunchError):
            return lifecycle.status(job).reason
        return ""

    def stop(self, job: TrialJob) -> None:
        """See `JobPort.stop`."""
        with contextlib.suppress(NotFoundError):
            lifecycle.cancel(self._resolve(job))

    def resume(self, job: TrialJob) -> None:
        """See `JobPort.resume`."""
        lifecycle.resume(self._resolve(job))

    def _resolve(self, job: TrialJob) -> ResolvedJob:
        return open_job(self._store.find(job.name, project=runs_dir()), store=self._store)


_STARTED = {
    JobState.RUNNING.value, JobState.RESTARTING.value, JobState.SUCCEEDED.value, JobState.FAILED.value,
    JobState.CANCELLED.value,
}  # fmt: skip


def _rows_of_log(job: ResolvedJob) -> list[Row]:
    log = TrainingLog()
    for text in job.backend.read_tails(job.handle, pods=1, max_bytes=_LOG_BYTES).values():
        log.add(text.splitlines())
    return [
        {"event": "eval", "epoch": epoch, **values.evaluated}
        for epoch, values in log.epochs.items()
        if values.evaluated
    ]


def read_curve(rows: Iterable[Row], metric: str, *, goal: str) -> dict[int, float]:
    """Return the value of a metric by epochs completed; of averaged weights too, whichever is better.

    Args:
        rows: Of a job.
        metric: Its name; empty for the evaluations' first one.
        goal: `max` or `min`.
    """
    found: dict[int, float] = {}
    for row in rows:
        epoch = row.get("epoch")
        if row.get("event") != "eval" or not isinstance(epoch, int):
            continue
        name = metric or choose_metric(row) or ""
        values = [float(value) for value in (row.get(name), row.get(_AVERAGED + name)) if is_number(value)]  # type: ignore[arg-type]
        if values:
            found[epoch] = max(values) if goal == "max" else min(values)
    return found


def names_measured(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return the names of what evaluations give."""
    names = {
        name: None for row in rows if row.get("event") == "eval" for name in row if name not in _NOT_VALUES
    }
    return tuple(names)
