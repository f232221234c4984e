"""The loop of a study: look at its jobs, write down what they measured, stop those not worth it, start the
next.

A step reads everything anew, from the journal and from the jobs, and keeps nothing for the next step. So a
driver may be killed between any two lines of it: the next one, or another that runs beside it, does what is
left. What must not be done twice is guarded where it is done: a trial is claimed under the journal's lock,
a job is started under the study's and by a name and run id that follow from the trial, a trial's end is
written by the first who sees it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from launcher.backends.states import JobState
from launcher.errors import TakenError, UnreachableError, UsageError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.sweep.machine import Place
from launcher.sweep.study import Halted, Study
from launcher.sweep.trial_jobs import ABSENT, JobPort, Seen, TrialJob, jobs_of
from launcher.sweep.trials import Trial, Trials, TrialState
from trainer.config.problems import ConfigError

_HOPELESS = 3
"""Trials that fail before any has succeeded, until the study is stopped: its config is wrong, not they."""
_RESUMES = 3
"""Times that a job is taken up again whose machine or supervisor was lost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """A study at one moment.

    Attributes:
        trials: All that were begun, by number.
        seen: The jobs of trials that run, by name.
        planned: Trials that there are to be.
        halted: Why nothing goes on; None where it does.
    """

    trials: tuple[Trial, ...]
    seen: Mapping[str, Seen] = field(default_factory=dict)
    planned: int
    halted: Halted | None = None

    @property
    def is_over(self) -> bool:
        """Whether all trials have ended."""
        return len(self.trials) >= self.planned and all(trial.state.is_final for trial in self.trials)


def tell_nobody(picture: Picture) -> None:
    """Take a look's result, and do nothing."""
    del picture


class Driver:
    """Goes on with a study."""

    def __init__(
        self, study: Study, trials: Trials, port: JobPort, *, places: Sequence[Place], notes: Notes = ignore
    ) -> None:
        """`places` has one for each job that may run at the same time."""
        self._study, self._trials, self._port = study, trials, port
        self._places, self._notes = places, notes

    def run(self, *, pause: Callable[[], None], on_step: Callable[[Picture], None] = tell_nobody) -> Picture:
        """Go on until all trials have ended, or the study is halted.

        Args:
            pause: Waits between two steps.
            on_step: Told of each.

        Raises:
            LaunchError: A job cannot be started, and would not be later either.
        """
        while True:
            picture = self.step()
            on_step(picture)
            if picture.is_over or picture.halted is not None:
                return picture
            pause()

    def step(self) -> Picture:
        """Do what is to be done now, once."""
        if (halted := self._study.read_halted()) is not None:
            return self._picture({}, halted)
        seen = self._look()
        for trial in self._running():
            self._advance(trial, seen)
        if (halted := self._find_hopeless()) is not None:
            self._study.halt(halted)
            return self._picture(seen, halted)
        try:
            self._start(seen)
        except UnreachableError as error:  # the next step tries again
            self._notes(Note(str(error), "warning"))
        return self._picture(seen, None)

    def _picture(self, seen: Mapping[str, Seen], halted: Halted | None) -> Picture:
        return Picture(
            trials=tuple(self._trials.all()), seen=seen, planned=self._trials.planned, halted=halted
        )

    def _running(self) -> list[Trial]:
        """Return the trials that have jobs to look after: none that rest."""
        return [trial for trial in self._trials.all() if not trial.state.is_final and not trial.rests]

    def _look(self) -> dict[str, Seen]:
        jobs = [job for trial in self._running() for job in jobs_of(self._study, trial.number)]
        return self._port.look(jobs) if jobs else {}

    def _advance(self, trial: Trial, seen: Mapping[str, Seen]) -> None:
        """Write down what a trial's jobs say, and end it where they have ended."""
        jobs = jobs_of(self._study, trial.number)
        first = _state(seen, jobs[0])
        if trial.stop_at is None and not first.curve.keys() <= trial.curve.keys():
            trial = self._trials.report(trial.number, first.curve, prunes=not first.is_over)
        if trial.stop_at is not None:
            self._end_pruned(trial, jobs, seen)
            return
        if trial.paused_at is not None and self._rest(trial, jobs, seen):
            return
        if trial.is_due:
            if first.state == JobState.CANCELLED.value:
                return  # the next start takes it up
            self._trials.note_gone_on(trial.number)
        values: dict[str, float] = {}
        for job in jobs:
            now = _state(seen, job)
            if now.state == JobState.LOST.value and self._take_up(trial, job):
                return
            if now.is_over and now.state != JobState.SUCCEEDED.value:
                self._fail(trial, jobs, seen, _why_failed(job, now))
                return
            if now.state == JobState.SUCCEEDED.value:
                best = _best(now.curve, goal=self._study.settings.goal)
                if best is None:
                    self._fail(trial, jobs, seen, self._no_value(job, now))
                    return
                values[job.repeat.label] = best
        if len(values) == len(jobs):
            self._trials.end(trial.number, TrialState.COMPLETE, values=values)

    def _end_pruned(self, trial: Trial, jobs: Sequence[TrialJob], seen: Mapping[str, Seen]) -> None:
        """Have the jobs save and stop; the trial ends once they have: until then they hold their places."""
        going = [job for job in jobs if _holds_a_place(_state(seen, job))]
        for job in going:
            self._port.stop(job)
        if not going:
            self._end_stopped(trial)

    def _end_stopped(self, trial: Trial) -> None:
        first = jobs_of(self._study, trial.number)[0]
        best = _best(trial.curve, goal=self._study.settings.goal)
        values = {} if best is None else {first.repeat.label: best}
        self._trials.end(trial.number, TrialState.PRUNED, values=values)

    def _rest(self, trial: Trial, jobs: Sequence[TrialJob], seen: Mapping[str, Seen]) -> bool:
        """Have the jobs of a paused trial save and stop; return whether that is all that is to be done.

        It is not where its job has ended before that was seen.
        """
        going = [job for job in jobs if _holds_a_place(_state(seen, job))]
        for job in going:
            self._port.stop(job)
        if not going and _state(seen, jobs[0]).state in (JobState.CANCELLED.value, JobState.LOST.value):
            self._trials.note_rest(trial.number)
            return True
        return bool(going)

    def _end_paused(self) -> None:
        """End the trials that are paused, once nothing is left by which one of them could go on."""
        trials = self._trials.all()
        left = [trial for trial in trials if not trial.state.is_final]
        if len(trials) < self._trials.planned or not all(trial.rests for trial in left):
            return
        for trial in left:
            self._end_stopped(trial)

    def _fail(self, trial: Trial, jobs: Sequence[TrialJob], seen: Mapping[str, Seen], reason: str) -> None:
        for job in jobs:
            if _holds_a_place(_state(seen, job)):
                self._port.stop(job)
        self._trials.end(trial.number, TrialState.FAILED, reason=reason)
        self._notes(Note(f"trial {trial.number + 1} failed: {reason}", "warning"))

    def _no_value(self, job: TrialJob, seen: Seen) -> str:
        wanted = self._study.settings.metric or "a metric"
        there = f"it has {', '.join(seen.measured)}" if seen.measured else "there was none"
        return f"{job.name}: expected {wanted} of its evaluations; {there}"

    def _take_up(self, trial: Trial, job: TrialJob) -> bool:
        """Resume a job whose machine or supervisor was lost, from its last checkpoint."""
        times = trial.resumed.get(job.repeat.label, 0)
        if times >= _RESUMES:
            return False
        self._trials.note_resumed(trial.number, job.repeat.label, times + 1)
        try:
            self._port.resume(job)
        except (UsageError, UnreachableError):  # another driver did, or nobody can now
            return True
        self._notes(Note(f"{job.name}: was lost, and goes on from its last checkpoint", "note"))
        return True

    def _find_hopeless(self) -> Halted | None:
        ended = [trial for trial in self._trials.all() if trial.state.is_final]
        if len(ended) < _HOPELESS or any(trial.state is not TrialState.FAILED for trial in ended):
            return None
        return Halted(cancelled=False, reason=f"the first {len(ended)} trials failed; {ended[-1].reason}")

    def _start(self, seen: Mapping[str, Seen]) -> None:
        """Start jobs while there are places."""
        while True:
            with self._trials.starting():
                running = self._running()
                states = self._occupied(running, seen)
                if len(states) >= len(self._places):
                    return
                place = next(place for place in self._places if place.slot not in states.values())
                wanted = self._next(running, seen, states)
                if wanted is None:
                    self._end_paused()
                    return
                trial, job = wanted
                self._trials.note_slot(trial.number, job.repeat.label, place.slot)
                try:
                    if trial.is_due:
                        self._take_up_paused(job)
                    else:
                        self._port.start(trial, job, place=place)
                except (ConfigError, UsageError, TakenError) as error:
                    self._trials.end(trial.number, TrialState.FAILED, reason=" ".join(str(error).split()))
                    if self._is_first_of_all(trial):
                        raise  # what was asked for cannot be, and the next trial's cannot either
                    self._notes(Note(f"trial {trial.number + 1} failed: {error}", "warning"))
                else:
                    seen = {**seen, job.name: Seen(state=JobState.SUBMITTED.value)}

    def _take_up_paused(self, job: TrialJob) -> None:
        # another driver did, or nobody can now: the trial stays due until its job is seen to go on
        with contextlib.suppress(UsageError, UnreachableError):
            self._port.resume(job)

    def _is_first_of_all(self, trial: Trial) -> bool:
        return trial.number == 0 and all(other.number == 0 for other in self._trials.all())

    def _occupied(self, running: Sequence[Trial], seen: Mapping[str, Seen]) -> dict[str, int]:
        """Return which place each job has that runs or is about to.

        Other drivers may have started some since the look: what was absent then is looked at again.
        """
        jobs = [(trial, job) for trial in running for job in jobs_of(self._study, trial.number)]
        unknown = [job for _, job in jobs if _state(seen, job).state == ABSENT]
        fresh = self._port.look(unknown) if unknown else {}
        taken: dict[str, int] = {}
        for trial, job in jobs:
            now = fresh.get(job.name) or _state(seen, job)
            if _holds_a_place(now):
                taken[job.name] = trial.slots.get(job.repeat.label, -1)
        return taken

    def _next(
        self, running: Sequence[Trial], seen: Mapping[str, Seen], occupied: Mapping[str, int]
    ) -> tuple[Trial, TrialJob] | None:
        """Return the job to start next: one of a trial that has begun, else the first of a new trial."""
        for trial in running:
            for index, job in enumerate(jobs_of(self._study, trial.number)):
                if trial.stop_at is not None or trial.paused_at is not None or job.name in occupied:
                    continue
                if trial.is_due and _state(seen, job).state == JobState.CANCELLED.value:
                    return trial, job
                if _state(seen, job).state != ABSENT:
                    continue
                if index and not self._may_repeat(trial, seen):
                    break
                return trial, job
        found = self._trials.go_on() or self._trials.claim()
        return None if found is None else (found, jobs_of(self._study, found.number)[0])

    def _may_repeat(self, trial: Trial, seen: Mapping[str, Seen]) -> bool:
        """Say whether a trial's second and later jobs may start.

        Where trials are pruned, the first job says whether the trial is worth its repeats.
        """
        if self._study.settings.prune == "none":
            return True
        first = jobs_of(self._study, trial.number)[0]
        return _state(seen, first).state == JobState.SUCCEEDED.value


def _state(seen: Mapping[str, Seen], job: TrialJob) -> Seen:
    return seen.get(job.name, Seen(state=ABSENT))


def _holds_a_place(seen: Seen) -> bool:
    return seen.state != ABSENT and not seen.is_over


def _best(curve: Mapping[int, float], *, goal: str) -> float | None:
    if not curve:
        return None
    return max(curve.values()) if goal == "max" else min(curve.values())


def _why_failed(job: TrialJob, seen: Seen) -> str:
    if seen.state == JobState.CANCELLED.value:
        return f"{job.name} was cancelled"
    return f"{job.name}: {seen.state}" + (f": {seen.reason}" if seen.reason else "")
