"""Jobs: submitting them, finding them again, and all that can be asked of one."""

from __future__ import annotations

import inspect
import logging
import re
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftlaunch.arguments import as_texts, make_options
from ftlaunch.boundary import api, api_class, spell
from ftlaunch.errors import JobCancelledError, JobFailedError
from ftlaunch.lines import iterate_lines, read_pattern, read_since
from ftlaunch.notebook import as_table, describe_status
from launcher.backends.states import JobEvent, JobState, JobStatus
from launcher.errors import UsageError
from launcher.jobs.notes import Note
from launcher.jobs.options import SubmitOptions
from launcher.jobs.resolve import ResolvedJob, open_job
from launcher.jobs.resolve import find_job as _find
from launcher.plan.handle import BACKENDS, BackendKind
from trainer.config.overrides import Overrides, spell_overrides

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ftlaunch.keywords import SubmitKeywords
    from launcher.jobs.changes import Change
    from launcher.jobs.checkpoints import Pulled
    from launcher.jobs.comparison import Comparison
    from launcher.jobs.lifecycle import Cancelled
    from launcher.jobs.metrics import Score
    from launcher.jobs.report import FetchedReport
    from launcher.jobs.track import Tracked
    from launcher.volumes.checkpoints import CheckpointInfo
    from launcher.why.explanation import Explanation

LOG = logging.getLogger("ftlaunch")
LOG.addHandler(logging.NullHandler())  # without one, Python prints warnings where nobody set logging up
_LEVELS = {
    "info": logging.INFO, "note": logging.INFO, "warning": logging.WARNING, "problem": logging.WARNING,
}  # fmt: skip


def log_note(note: Note) -> None:
    """Hand a note of a use case to the logger `ftlaunch`, in a program's words."""
    # options of `logs` and, where it has none of that name, those of `submit`
    LOG.log(_LEVELS[note.level], "%s", spell(str(note), inspect.unwrap(Job.logs)))


def known_backend(on: BackendKind | None) -> BackendKind | None:
    """Return what runs a job, as it was given: a program may hold any text, where a command line is checked.

    Raises:
        UsageError: There is no such kind of backend.
    """
    if on is not None and on not in BACKENDS:
        raise UsageError(where="on", expected=f"one of {', '.join(BACKENDS)}", got=repr(on))
    return on


@api
def submit(
    config: str | Path,
    *,
    on: BackendKind | None = None,
    set: Overrides = (),
    notes: Callable[[Note], None] = log_note,
    **options: Unpack[SubmitKeywords],
) -> Job:
    """Submit a job, as `ftlaunch submit` does, and return it once it is stored where it is to run.

    Args:
        config: The file.
        on: `kubernetes`, `docker` or `local`; None for what settings say, else kubernetes.
        set: Changes of the config.
        notes: Told what the command would say; the logger `ftlaunch` by default.
        options: As of the command: name, image, nodes, gpus, volumes, code, namespace, context, overwrite,
            parent, strict, preflight, and the other fields of `launcher.jobs.options.SubmitOptions`.

    Raises:
        ConfigError: The config is refused; all its problems are in `problems`.
        UsageError: What is asked for cannot be, or the name is taken.
        UnreachableError: The cluster does not answer or does not let us in.
    """
    from launcher.jobs.submit import submit as submit_job

    asked = make_options(SubmitOptions, on=known_backend(on), overrides=spell_overrides(set), **options)
    return Job(submit_job(Path(config), asked, notes=notes), notes=notes)


@api
def find_job(name: str | None = None, *, notes: Callable[[Note], None] = log_note) -> Job:
    """Return a job by its name or handle; the last one submitted from this project where none is named.

    Raises:
        NotFoundError: There is no such job.
    """
    return Job(_find(name), notes=notes)


def known_job(job: Job | str) -> Job:
    """Return a job, or the one of a name.

    Raises:
        NotFoundError: There is no such job.
    """
    return find_job(job) if isinstance(job, str) else job


@api
def jobs(
    *, on: BackendKind | None = None, states: Collection[str] | str = (), limit: int | None = None
) -> tuple[Job, ...]:
    """Return the jobs that were submitted from this machine, newest first.

    Args:
        on: Only those of this kind of backend.
        states: Only those that stand so, one or several, such as `running`; asks where they run. Empty asks
            nobody.
        limit: At most so many.

    Raises:
        UsageError: There is no such kind of backend or no such state.
    """
    from launcher.jobs.listing import GONE, UNKNOWN, UNSENT, list_jobs
    from launcher.runs.paths import runs_dir
    from launcher.runs.store import RunStore

    store = RunStore(runs_dir())
    wanted = tuple(state.lower() for state in as_texts(states))
    known = [state.lower() for state in (*(state.value for state in JobState), UNKNOWN, GONE, UNSENT)]
    if unknown := [state for state in wanted if state not in known]:
        raise UsageError(
            where="states", expected=f"some of {', '.join(known)}", got=", ".join(map(repr, unknown))
        )
    listed = list_jobs(on=known_backend(on), states=wanted, limit=limit, with_state=bool(wanted), store=store)
    return tuple(Job(open_job(item.record, store=store)) for item in listed)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """How a job has ended.

    Attributes:
        job: Its name.
        state: `JobState.SUCCEEDED`, `FAILED`, `CANCELLED` or `LOST`; `.value` is what commands print.
        exit_code: What `ftlaunch wait` exits with: 0, 5 or 6.
        reason: A sentence about the end, empty where there is nothing to say.
        status: All that was seen of the job at its end.
    """

    job: str
    state: JobState
    exit_code: int
    reason: str
    status: JobStatus

    @property
    def succeeded(self) -> bool:
        """Whether it did all that it was to do."""
        return self.state is JobState.SUCCEEDED

    def check(self) -> Result:
        """Return this result of a job that succeeded.

        Raises:
            JobFailedError: It failed or was lost.
            JobCancelledError: It was cancelled.
        """
        if self.succeeded:
            return self
        kind = JobCancelledError if self.state is JobState.CANCELLED else JobFailedError
        raise kind(
            where=self.job,
            expected="a job that succeeds",
            got=f"one that is {self.state.value}{f': {self.reason}' if self.reason else ''}",
            fix=f"`ftlaunch why {self.job}`, or `why()` of the job, says more",
        )


@api_class
class Job:
    """A job that was submitted from this machine.

    Each method asks where the job runs, at the moment of the call; nothing is kept but what was submitted.
    """

    def __init__(self, resolved: ResolvedJob, *, notes: Callable[[Note], None] = log_note) -> None:
        self._job, self._notes = resolved, notes

    @property
    def name(self) -> str:
        """The job's name."""
        return self._job.name

    @property
    def handle(self) -> str:
        """`kubernetes://NAMESPACE/JOB`, `docker:///JOB` or `local:///JOB`."""
        return str(self._job.handle)

    @property
    def run_id(self) -> str:
        """32 hexadecimal digits, the same over restarts."""
        return self._job.record.run_id

    @property
    def config(self) -> Path:
        """The file that was submitted."""
        return Path(self._job.record.config)

    @property
    def run_folder(self) -> Path:
        """Folder of its config, manifest and recorded logs on this machine."""
        return self._job.run_folder

    def status(self) -> JobStatus:
        """Return how the job stands now.

        Raises:
            NotFoundError: There is no such job any more.
            UnreachableError: Its cluster does not answer.
        """
        from launcher.jobs.lifecycle import status

        return status(self._job)

    def watch(self) -> Iterator[JobStatus]:
        """Give the job's status now, and again whenever it has changed, until its end.

        A cluster that does not answer for a while is asked again, for ten minutes.
        """
        from launcher.jobs.wait import watch

        return watch(self._job, notes=self._notes)

    def wait(self, *, timeout_s: float | None = None, check: bool = False) -> Result:
        """Wait for the job's end, and say how it ended.

        Args:
            timeout_s: Give up after so long; None waits for ever.
            check: Raise where it did not succeed, as `subprocess.run` does.

        Raises:
            WaitTimeoutError: It goes on.
            JobFailedError: With `check`: it failed or was lost.
            JobCancelledError: With `check`: it was cancelled.
        """
        from launcher.jobs.wait import exit_code, wait_for_end

        end = wait_for_end(self._job, timeout_s=timeout_s, notes=self._notes)
        result = Result(
            job=self.name, state=end.state, exit_code=exit_code(end), reason=end.reason, status=end
        )  # fmt: skip
        return result.check() if check else result

    def logs(
        self,
        *,
        follow: bool = False,
        tail: int | None = None,
        ranks: Collection[int] | None = None,
        nodes: Collection[int] | None = None,
        attempt: int | None = None,
        all_attempts: bool = False,
        since: str | datetime | timedelta | None = None,
        grep: str | re.Pattern[str] | None = None,
        prefix: bool = True,
        timestamps: bool = False,
    ) -> Iterator[str]:
        """Give the lines of all ranks, merged by time, each once whatever restarts come between.

        Args:
            follow: Go on until the job has ended. Leaving the loop ends the reading, not the job.
            tail: Only so many of the lines that are there already.
            ranks: Only these global ranks.
            nodes: Only these nodes and their ranks.
            attempt: Only this start of all ranks, from 1.
            all_attempts: Those of earlier attempts too.
            since: Only lines since then: `"5m"` ago, an RFC 3339 time, or Python's own; a time without a zone
                is one of this machine's.
            grep: Only lines in which this regular expression is found.
            prefix: Put `[rank 3]` before each line.
            timestamps: Put its time before each line.

        Raises:
            UsageError: A rank or node is asked for that the job does not have, or `since` or `grep` cannot be
                read.
            NotFoundError: There is no such job, and nothing of its log was recorded.
        """
        from launcher.jobs.logs import LogOptions, read_logs
        from launcher.logs.log_filter import LogFilter
        from launcher.logs.log_format import LogFormat

        wanted = LogFilter(
            ranks=None if ranks is None else frozenset(ranks),
            nodes=None if nodes is None else frozenset(nodes),
            attempt=attempt,
            tail=tail,
            since_ns=read_since(since),
            pattern=read_pattern(grep),
        )
        options = LogOptions(
            log_filter=wanted,
            form=LogFormat(prefix=prefix, timestamps=timestamps),
            all_attempts=all_attempts,
        )
        return iterate_lines(
            lambda write: read_logs(self._job, options, write=write, follow=follow, notes=self._notes)
        )

    def why(self) -> Explanation:
        """Say why the job stands as it does: verdicts, what they rest on, and what mends it."""
        from launcher.jobs.lifecycle import explain

        return explain(self._job)

    def events(self) -> tuple[JobEvent, ...]:
        """Return what is still kept of the notes about the job and its pods, oldest first."""
        from launcher.jobs.lifecycle import events

        return events(self._job)

    def cancel(self) -> Cancelled:
        """Have the job save and stop, and not come back; return without waiting for its end."""
        from launcher.jobs.lifecycle import cancel

        return cancel(self._job)

    def resume(self) -> JobStatus:
        """Take the cancelled, suspended or lost job up again from its last checkpoint.

        Raises:
            UsageError: It has ended by itself, or is still stopping.
        """
        from launcher.jobs.lifecycle import resume

        return resume(self._job)

    def delete(self, *, force: bool = False) -> None:
        """Remove the job and its record; checkpoints and whatever else it wrote stay.

        Args:
            force: Also while it runs, without saving, and pods of a node that does not answer.

        Raises:
            UsageError: It still runs, and `force` is not given.
        """
        from launcher.jobs.lifecycle import delete

        delete(self._job, force=force)

    def exec(self, *command: str, node: int = 0) -> subprocess.CompletedProcess[bytes]:
        """Run a command in a pod of the running job, and return its exit code and output.

        Raises:
            UsageError: The job has ended, has no such node, or has no containers.
        """
        from launcher.jobs.lifecycle import command_in

        return subprocess.run(command_in(self._job, command, node=node), check=False, capture_output=True)

    def metrics(self) -> tuple[Mapping[str, Any], ...]:
        """Return the rows of the job's metrics.jsonl, the oldest first; none before the first step.

        A row has `event` (`step`, `epoch`, `eval`, `checkpoint`), `attempt`, `epoch` from 1, `iter` from 0,
        and what was measured, such as `loss`, `top1`, `lr`, `images_per_s` (docs/paddleclas.md). A step that
        was repeated after a restart stands once for each attempt.

        Raises:
            NotFoundError: The job has no output folder yet.
        """
        from launcher.jobs.metrics import read_metrics

        return tuple(read_metrics(self._job))

    def best(self) -> Score | None:
        """Return the best evaluation so far, by the metric that chooses it; None before the first.

        Of a job that is gone, what was seen of it last.

        Raises:
            NotFoundError: There is no such job any more, and nothing was noted of it.
        """
        from launcher.errors import NotFoundError
        from launcher.jobs.outcome import note_outcome, read_outcome

        try:
            return note_outcome(self._job, self.status()).score
        except NotFoundError:
            noted = read_outcome(self.run_folder)
            if noted is None:
                raise
            return noted.score

    def changes(self, since: Job | str | None = None) -> tuple[Change, ...]:
        """Return what this run's config and options have differently from another run's.

        Args:
            since: The other run, or its name; None for the last one of the same config that was submitted
                before it.

        Returns:
            Each key with both values, as people read them and as they are.
        """
        from launcher.jobs.changes import find_changes
        from launcher.jobs.listing import find_run_before

        store, record = self._job.store, self._job.record
        before = find_run_before(record, store=store) if since is None else known_job(since)._job.record
        return () if before is None else tuple(find_changes(store, before, record))

    def diff(self, other: Job | str) -> Comparison:
        """Compare this run with another: config, data, versions, size, results, and where their losses part.

        Args:
            other: The other run, or its name.

        Raises:
            NotFoundError: There is no job of that name.
            LaunchError: A config cannot be read.
        """
        from launcher.jobs.comparison import compare_jobs

        return compare_jobs(self._job, known_job(other)._job)

    def checkpoints(self) -> tuple[CheckpointInfo, ...]:
        """Return the job's checkpoints, the furthest first; sizes are compared with each manifest."""
        from launcher.jobs.checkpoints import find_checkpoints

        return tuple(find_checkpoints(self._job))

    def verify_checkpoints(self, name: str | None = None) -> tuple[CheckpointInfo, ...]:
        """Read every file of all checkpoints, or of one, and compare hashes; each has its `fault` or none."""
        from launcher.jobs.checkpoints import verify_checkpoints

        return tuple(verify_checkpoints(self._job, name))

    def pull_checkpoint(self, name: str = "latest", *, to: str | Path | None = None) -> Pulled:
        """Fetch a checkpoint's files into a folder of this machine.

        Args:
            name: Of the checkpoint, `latest` or `best`.
            to: Folder for its files; None for `JOB-CHECKPOINT` in the current one.
        """
        from launcher.jobs.checkpoints import pull_checkpoint

        return pull_checkpoint(self._job, name, to=None if to is None else Path(to))

    def report(self, *, to: str | Path | None = None) -> FetchedReport:
        """Fetch the last report of the training: page, numbers, every image's answer, and metrics.

        Args:
            to: Folder for the files; None for `JOB-report` in the current one.
        """
        from launcher.jobs.report import fetch_report

        return fetch_report(self._job, to=None if to is None else Path(to), notes=log_note)

    def track(
        self, *trackers: str, settings: Mapping[str, str] | None = None, patience_s: float = 600.0
    ) -> tuple[Tracked, ...]:
        """Send what the job has measured to experiment trackers; what is there already is not sent again.

        Args:
            trackers: Such as `mlflow`; none for those of the job's Launch.track.
            settings: Of the one tracker, such as `uri` and `experiment`.
            patience_s: Give a target up after so long without a row that was taken.

        Returns:
            What came of each, with the rows that are `left` and the `problem`.
        """
        from launcher.jobs.track import track_job

        return track_job(self._job, trackers, settings, patience_s=patience_s, notes=log_note)

    def __repr__(self) -> str:
        return f"<Job {self.handle}>"

    def _repr_html_(self) -> str:
        """Show the job in a notebook: how it stands now, as a table. Asks where it runs."""
        from launcher.errors import LaunchError

        rows = [("job", self.handle), ("config", str(self.config))]
        try:
            status = self.status()
        except LaunchError as error:
            rows.append(("state", f"not known: {error}"))
        else:
            rows += describe_status(status)
        return as_table(rows)
