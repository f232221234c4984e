"""What can be asked of a study as a whole: how it stands, to go on, to stop, to be gone."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError, TakenError, UnreachableError, UsageError
from launcher.jobs import lifecycle
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.resolve import ResolvedJob, open_job
from launcher.plan.capabilities import CAPABILITIES
from launcher.runs.paths import runs_dir
from launcher.runs.store import RunStore
from launcher.sweep import remote
from launcher.sweep.driver import Driver, Picture, tell_nobody
from launcher.sweep.machine import Sharing
from launcher.sweep.results import best_job, find_winner, write_winner
from launcher.sweep.study import DRIVER_LOG, MOST_TRIALS, PAGE, WINNER, Halted, Study, remove_study
from launcher.sweep.trial_jobs import ABSENT, LaunchedJobs, Seen, TrialJob, jobs_of
from launcher.sweep.trials import Trials, TrialState
from trainer.protocol.python_command import python_command
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.studyfile import MAX_BYTES, SUMMARY, StudyState, Summary, format_summary, parse_summary
from trainer.protocol.untrusted import FormatError

if TYPE_CHECKING:
    from launcher.sweep.begin import Planned

_PAUSE_S, _CLUSTER_PAUSE_S = 1.0, 5.0


def state_of(study: Study, picture: Picture) -> StudyState:
    """Return how a study stands, in one word. Looks whether a driver runs."""
    if picture.halted is not None:
        return "Cancelled" if picture.halted.cancelled else "Failed"
    if picture.is_over:
        states = {trial.state for trial in picture.trials}
        # where all were pruned, nothing has gone wrong
        return "Succeeded" if TrialState.COMPLETE in states or TrialState.FAILED not in states else "Failed"
    return "Running" if study.is_driven else "Paused"


def summarize(study: Study, picture: Picture) -> Summary:
    """Return what lists show of a study."""
    winner = find_winner(picture.trials, goal=study.settings.goal)
    return Summary(
        state=state_of(study, picture), begun=len(picture.trials), planned=picture.planned,
        ended=sum(trial.state.is_final for trial in picture.trials),
        best=winner.value if winner else None, winner=winner.number if winner else None,
        job=best_job(study, winner) if winner else None,
    )  # fmt: skip


def read_summary(study: Study) -> Summary | None:
    """Return what was last seen of a study; None where nothing was. Opens no journal and asks nobody."""
    try:
        found = parse_summary(read_file(study.folder / SUMMARY, max_bytes=MAX_BYTES), where=SUMMARY)
    except (OSError, FormatError):
        return None
    from dataclasses import replace

    # a study may be halted while no driver is there to note it
    if found.state in ("Running", "Paused") and (halted := study.read_halted()) is not None:
        return replace(found, state="Cancelled" if halted.cancelled else "Failed")
    if found.state == "Running" and not study.is_driven:
        return replace(found, state="Paused")
    return found


def _note_summary(study: Study, picture: Picture) -> None:
    summary = summarize(study, picture)
    if read_summary(study) != summary:
        replace_file(study.folder / SUMMARY, format_summary(summary).encode())


def look(study: Study) -> Picture:
    """Return how a study stands now; asks for the jobs of trials that run alone.

    Changes nothing but this machine's copy of a study whose driver is a pod.
    """
    if study.is_remote:
        remote.renew(study)
    trials = Trials(study)
    found = trials.all()
    going = [trial for trial in found if not trial.state.is_final and not trial.rests]
    jobs = [job for trial in going for job in jobs_of(study, trial.number)]
    seen: dict[str, Seen] = {}
    with contextlib.suppress(UnreachableError):
        seen = LaunchedJobs(study).look(jobs) if jobs else {}
    picture = Picture(trials=tuple(found), seen=seen, planned=trials.planned, halted=study.read_halted())
    if study.is_remote:
        _note_summary(study, picture)
        if picture.is_over and not (study.folder / PAGE).is_file():
            write_results(study, picture)
    return picture


def begin(planned: Planned, *, notes: Notes = ignore) -> Study:
    """Make a planned study and start the first jobs of it; what cannot be submitted at all leaves nothing.

    Raises:
        TakenError: There is one of its name.
        LaunchError: The first trial cannot be submitted.
    """
    study = planned.begin()
    if study.is_remote:
        try:
            remote.send_driver(study, image=planned.driver_image)
        except (LaunchError, ValueError):
            remove_study(study)
            raise
        return study
    try:
        make_driver(study, planned.sharing, notes=notes).step()
    except (LaunchError, ValueError):
        if not any(job.study == study.name for job in RunStore(runs_dir()).newest()):
            remove_study(study)
        raise
    return study


def share_again(study: Study, *, parallel: int | None = None) -> Sharing:
    """Return how a study's jobs share the place where they run, as it is now."""
    from launcher.sweep.begin import share_again as share  # with YAML and pydantic, which a look does without

    return share(study, parallel=parallel)


def make_driver(study: Study, sharing: Sharing, *, notes: Notes = ignore, is_in_pod: bool = False) -> Driver:
    """Make what goes on with a study in this process."""
    port = LaunchedJobs(study, notes=notes, **({"is_mounted": True} if is_in_pod else {}))
    return Driver(study, Trials(study), port, places=sharing.places, notes=notes)


def go_on(
    study: Study, sharing: Sharing, *, pause: Callable[[float], None], notes: Notes = ignore,
    on_step: Callable[[Picture], None] = tell_nobody, is_in_pod: bool = False,
) -> Picture:  # fmt: skip
    """Go on with a study until it ends or is halted, and write down what it came to.

    Args:
        study: Which.
        sharing: Where its jobs run, and how many at once.
        pause: Waits for so many seconds, or less.
        notes: Told of what people should know.
        on_step: Told of each look.
        is_in_pod: The trials' output is mounted here as in their pods.

    Raises:
        UsageError: It was asked for in another folder, where its config's relative paths lead.
        LaunchError: Its jobs cannot be submitted.
    """
    if Path.cwd() != Path(study.settings.workdir):
        raise UsageError(
            where=study.name, expected=f"to be called in {study.settings.workdir}, where its paths lead",
            got=str(Path.cwd()), fix=f"cd {study.settings.workdir}",
        )  # fmt: skip
    length_s = _CLUSTER_PAUSE_S if CAPABILITIES[study.settings.on].is_cluster else _PAUSE_S

    def tell(picture: Picture) -> None:
        _note_summary(study, picture)
        on_step(picture)

    with study.driving():
        driver = make_driver(study, sharing, notes=notes, is_in_pod=is_in_pod)
        picture = driver.run(pause=lambda: pause(length_s), on_step=tell)
        write_results(study, picture)
    _note_summary(study, picture)
    return picture


def write_results(study: Study, picture: Picture) -> Path | None:
    """Write page and winner's config into the study's folder; return the config, None without a winner."""
    from launcher.sweep.page import write_page  # with jinja2

    write_page(study, picture)
    winner = find_winner(picture.trials, goal=study.settings.goal)
    if winner is None:
        return None
    path = study.folder / WINNER
    replace_file(path, write_winner(study, winner).encode())
    return path


def cancel(study: Study, *, notes: Notes = ignore) -> int:
    """Have no driver go on, and the jobs of its trials save and stop; return how many were told to."""
    study.halt(Halted(cancelled=True))
    if study.is_remote:
        remote.tell(study, notes=notes)
        remote.renew(study)
    count = 0
    # under the lock by which jobs are started: one that is being started now is seen
    trials = Trials(study)
    with trials.starting():
        for job in _running_jobs(study, trials):
            try:
                count += not lifecycle.cancel(job).had_ended
            except NotFoundError:
                continue
            except LaunchError as error:
                notes(Note(f"{job.name}: {error}", "warning"))
    return count


def release(
    study: Study, *, trials: int | None = None, parallel: int | None = None, notes: Notes = ignore
) -> Study:
    """Let a study go on that was cancelled or stopped: jobs that were cancelled are taken up again.

    Args:
        study: Which.
        trials: How many there are to be; None for as many as before.
        parallel: How many at once, where a pod is the driver; None for as many as before.
        notes: Told of jobs that cannot be taken up.

    Raises:
        UsageError: A job is still stopping.
    """
    if study.is_remote:
        remote.renew(study)
        study = study.with_numbers(parallel=parallel)
    if trials is not None:
        begun = len(Trials(study).all())
        if trials < begun:
            raise UsageError(
                where="--trials", expected=f"at least the {begun} that were begun", got=str(trials)
            )
        if trials > MOST_TRIALS:
            raise UsageError(where="--trials", expected=f"at most {MOST_TRIALS}", got=str(trials))
        study = study.with_numbers(trials=trials)
    halted = study.read_halted()
    if halted is not None and halted.cancelled:
        for job in _running_jobs(study, Trials(study)):
            try:
                if lifecycle.status(job).state is JobState.CANCELLED:
                    lifecycle.resume(job)
            except NotFoundError as error:
                notes(Note(str(error), "warning"))
    study.release()
    if study.is_remote:
        remote.tell(study, notes=notes)
    return study


def _running_jobs(study: Study, trials: Trials) -> list[ResolvedJob]:
    """Return the jobs that were submitted of trials that have not ended."""
    store = RunStore(runs_dir())
    found = []
    for trial in trials.all():
        if trial.state.is_final or trial.rests or trial.paused_at is not None:
            continue
        for job in jobs_of(study, trial.number):
            if (record := store.load(job.name)) is not None and record.run_id == job.run_id:
                found.append(open_job(record, store=store))
    return found


def delete(study: Study, *, force: bool = False) -> int:
    """Remove a study, its jobs and their records; checkpoints stay. Return how many jobs were removed.

    Raises:
        UsageError: A driver or a job of it still runs, and `force` is not given.
    """
    if study.is_remote:
        remote.renew(study)
    if study.is_driven and not force and not _has_ended(study):
        raise UsageError(
            where=study.name, expected="a study that no driver goes on with", got="one that does",
            fix=f"`ftlaunch cancel {study.name}` first, or pass --force",
        )  # fmt: skip
    before = study.read_halted()
    study.halt(Halted(cancelled=True))
    store, count = RunStore(runs_dir()), 0
    # those that run are refused before any is removed
    records = [record for record in store.newest() if record.study == study.name]
    jobs = [open_job(record, store=store) for record in records]
    going = [] if force else [job.name for job in jobs if _is_going(job)]
    if going:
        if before is None:  # what is refused changes nothing
            study.release()
        else:
            study.halt(before)
        raise UsageError(
            where=study.name,
            expected="jobs that have ended",
            got=f"{len(going)} that have not, such as {going[0]}",
            fix=f"`ftlaunch cancel {study.name}` first, or pass --force",
        )
    if study.is_remote:
        remote.remove(study)  # first: it starts no job that nobody would delete
    for job in jobs:
        lifecycle.delete(job, force=force)
        count += 1
    remove_study(study)
    return count


def _has_ended(study: Study) -> bool:
    """Whether nothing of a study is left to be done, also where its driver's pod is about to end."""
    found = read_summary(study)
    return study.is_remote and found is not None and found.state in ("Succeeded", "Failed", "Cancelled")


def _is_going(job: ResolvedJob) -> bool:
    with contextlib.suppress(NotFoundError):
        return not lifecycle.status(job).state.is_terminal
    return False


def drive_by_pod(study: Study) -> None:
    """Have a pod go on with a study that has one as its driver.

    Raises:
        LaunchError: The cluster refuses it.
    """
    remote.send_driver(study)


def check_driver(planned: Planned, *, on_server: bool) -> list[str]:
    """Return the objects of a study's driver as texts; none where this machine is it. Begins nothing.

    Args:
        planned: The study.
        on_server: Have the cluster check them.

    Raises:
        LaunchError: The cluster refuses them.
    """
    if not planned.settings.driver_namespace:
        return []
    return remote.check(planned.settings, planned.content, image=planned.driver_image, on_server=on_server)


def drive_in_pod(folder: Path, *, pause: Callable[[float], None], notes: Notes = ignore) -> Picture:
    """Go on with a study as its driver in a cluster, until it ends or is halted.

    Args:
        folder: Where the driver's ConfigMap is mounted.
        pause: Waits for so many seconds.
        notes: Told of what people should know.

    Raises:
        UsageError: What it was given is refused; a pod made anew would be refused alike.
        LaunchError: The cluster does not answer.
    """
    study, place = remote.open_in_pod(folder)
    published = remote.Published(study, place)

    def exchange(picture: Picture) -> None:
        del picture
        try:
            if published.listen():
                cancel(study, notes=notes)
            published.send()
        except UnreachableError as error:  # the next step tries again
            notes(Note(str(error), "warning"))

    if published.listen():
        cancel(study, notes=notes)
    picture = go_on(study, share_again(study), pause=pause, notes=notes, on_step=exchange, is_in_pod=True)
    published.send()
    if picture.halted is not None and not picture.halted.cancelled:
        published.tell()
    return picture


def detach(study: Study) -> int:
    """Start a driver in the background, which outlives this process; return its process id."""
    command = python_command("launcher", ["sweep", "resume", study.name, "--plain"])
    with (study.folder / DRIVER_LOG).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=study.settings.workdir,
            start_new_session=True,
        )  # fmt: skip
    return process.pid


def choose_best(study: Study, *, trial: int | None = None) -> TrialJob:
    """Return the job whose weights are meant: of a trial that is named, else the best of the best trial.

    Args:
        study: Which.
        trial: From 0; None for the best.

    Raises:
        NotFoundError: There is no such trial; or none is named, and none has ended by itself.
    """
    picture = look(study)
    if trial is None and find_winner(picture.trials, goal=study.settings.goal) is None:
        raise NotFoundError(
            where=study.name, expected="a trial that has ended by itself, the best of which is meant",
            got="none yet" if picture.trials else "no trial that has begun",
            fix=f"name one: `ftlaunch list {study.name}` has their jobs",
        )  # fmt: skip
    if trial is not None and not 0 <= trial < len(picture.trials):
        return choose_job(study, picture, trial=trial)  # which refuses it
    meant = find_winner(picture.trials, goal=study.settings.goal) if trial is None else picture.trials[trial]
    assert meant is not None
    name = best_job(study, meant)
    return next(job for job in jobs_of(study, meant.number) if job.name == name)


def choose_job(study: Study, picture: Picture, *, trial: int | None = None) -> TrialJob:
    """Return the job whose log is meant: of a trial that is named, else of one that runs, else of the best.

    Args:
        study: Which.
        picture: How it stands.
        trial: From 0; None for none.

    Raises:
        NotFoundError: There is no such trial, or none has begun.
    """
    numbers = [item.number for item in picture.trials]
    if trial is None:
        going = [item.number for item in picture.trials if not item.state.is_final and item.paused_at is None]
        winner = find_winner(picture.trials, goal=study.settings.goal)
        trial = going[0] if going else winner.number if winner else numbers[-1] if numbers else None
    if trial is None or trial not in numbers:
        expected = f"a trial from 1 to {len(numbers)}" if numbers else "a trial that has begun"
        raise NotFoundError(
            where=study.name, expected=expected, got="none" if trial is None else str(trial + 1)
        )
    jobs = jobs_of(study, trial)
    for job in reversed(jobs):
        seen = picture.seen.get(job.name)
        if seen is not None and seen.state != ABSENT:
            return job
    return jobs[0]


__all__ = [
    "Summary",
    "TakenError",
    "begin",
    "cancel",
    "check_driver",
    "choose_job",
    "delete",
    "detach",
    "drive_by_pod",
    "drive_in_pod",
    "go_on",
    "look",
    "make_driver",
    "read_summary",
    "release",
    "share_again",
    "state_of",
    "summarize",
    "write_results",
]
