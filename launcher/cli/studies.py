"""What commands that take a job do where the name is a study's."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING

import click

from launcher.cli.printing import echo, print_note
from launcher.errors import CliExit

trial_option = click.option(
    "--trial", type=click.IntRange(min=1), metavar="N",
    help="Trial of a study, where its name stands for JOB; by default the best.",
)  # fmt: skip

running_trial_option = click.option(
    "--trial", type=click.IntRange(min=1), metavar="N",
    help="Trial of a study, where its name stands for JOB; by default one that runs, else the best.",
)  # fmt: skip

if TYPE_CHECKING:  # what reads a space brings YAML and pydantic, and most commands are of a job
    from launcher.jobs.curves import Plot
    from launcher.jobs.resolve import ResolvedJob
    from launcher.sweep.study import Study
    from trainer.protocol.studyfile import Summary

_LOOK_S = 2.0


def as_study(name: str | None) -> Study | None:
    """Return the study that is called so; None for a job's name, a handle or none."""
    from launcher.names import is_dns_label
    from launcher.runs.paths import state_dir

    # no path, and none that is too long for a file system
    if name is None or not is_dns_label(name) or not (state_dir() / "sweeps" / name / "study.json").is_file():
        return None
    from launcher.sweep.study import load_study

    return load_study(name)


def complete_study(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a study of this machine."""
    del ctx, param
    return [study.name for study, _ in list_with_summaries() if study.name.startswith(incomplete)]


def list_with_summaries() -> list[tuple[Study, Summary | None]]:
    """Return all studies with what was last seen of each; asks nobody."""
    from launcher.runs.paths import state_dir

    if not (state_dir() / "sweeps").is_dir():
        return []
    from launcher.sweep.lifecycle import read_summary
    from launcher.sweep.study import list_studies

    return [(study, read_summary(study)) for study in list_studies()]


def cancel_study(study: Study) -> None:
    """Have a study's trials save and stop, and say so."""
    from launcher.sweep.lifecycle import cancel

    count = cancel(study, notes=print_note)
    told = f"{count} trial{'s' * (count != 1)} told to save and stop" if count else "no trial runs"
    echo(f"{study.name}: {told}; `ftlaunch resume {study.name}` goes on with it", err=True)


def delete_study(study: Study, *, force: bool) -> None:
    """Delete a study with its jobs, and say so."""
    from launcher.sweep.lifecycle import delete

    count = delete(study, force=force)
    echo(f"{study.name}: deleted, with {count} job{'s' * (count != 1)}", err=True)


def go_on_with_study(study: Study) -> int:
    """Take a study up again, in the background as `resume` does with a job."""
    from launcher.cli.sweep import resume_study
    from launcher.sweep.lifecycle import release

    found = release(study, notes=print_note)
    return resume_study(found, parallel=None, detach=True, plain=True, output="text")


def wait_for_study(study: Study, *, timeout_s: float | None) -> int:
    """Wait until a study has ended; the exit code is that of `sweep`.

    Raises:
        WaitTimeoutError: It did not within `timeout_s`.
    """
    from launcher.cli.sweep import exit_code, print_study_end
    from launcher.jobs.wait import WaitTimeoutError
    from launcher.sweep.lifecycle import look, state_of

    until_s = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        picture = look(study)
        state = state_of(study, picture)
        if state != "Running":
            print_study_end(study, picture)
            if state == "Paused":
                echo(f"{study.name}: no driver goes on with it", err=True)
                return CliExit.JOB_FAILED
            return exit_code(study, picture)
        if until_s is not None and time.monotonic() >= until_s:
            ended = sum(trial.state.is_final for trial in picture.trials)
            raise WaitTimeoutError(
                where=study.name,
                expected=f"its end within {timeout_s:g} s, {ended} of {picture.planned} trials have ended",
                fix=f"`ftlaunch why {study.name}` says more",
            )
        time.sleep(_LOOK_S)


def watch_study(study: Study, *, plain: bool) -> int:
    """Show a study as it changes, until it ends or no driver goes on with it."""
    from launcher.cli.printing import Screen, can_show
    from launcher.cli.signals import ended_like_ctrl_c
    from launcher.cli.sweep import print_study_end
    from launcher.cli.sweep_picture import compose_study
    from launcher.sweep.lifecycle import look, state_of

    picture = look(study)
    if not plain and can_show():
        screen = Screen(sys.stdout)
        try:
            with ended_like_ctrl_c():
                screen.enter()
                try:
                    while state_of(study, picture) == "Running":
                        columns, rows = shutil.get_terminal_size()
                        screen.draw(
                            compose_study(study, picture, columns=columns, rows=rows, now_s=time.time())
                        )
                        time.sleep(_LOOK_S)
                        picture = look(study)
                finally:
                    screen.leave()
        except KeyboardInterrupt:
            echo(f"{study.name} goes on; `ftlaunch status --watch {study.name}` to come back", err=True)
            return CliExit.INTERRUPTED
    else:
        while state_of(study, picture) == "Running":
            time.sleep(_LOOK_S)
            picture = look(study)
    print_study_end(study, picture)
    return CliExit.OK


def job_of_study(study: Study, trial: int | None) -> str:
    """Return the name of the job whose log is meant, and say which it is.

    Args:
        study: Which.
        trial: From 1; None for one that runs, else the best.

    Raises:
        NotFoundError: There is none.
    """
    from launcher.sweep.lifecycle import choose_job, look

    job = choose_job(study, look(study), trial=None if trial is None else trial - 1)
    if trial is None:
        echo(f"note: of {study.name} this is trial {job.number + 1}; --trial N shows another", err=True)
    return job.name


def find_job_or_best(
    name: str | None, trial: int | None, *, another: str = "--trial N takes another"
) -> ResolvedJob:
    """Return the job that is meant; of a study's name the best job of the best trial, and say which that is.

    Args:
        name: Of a job or a study, or a handle; None for the job that was submitted last.
        trial: From 1, of a study; None for the best.
        another: How another trial is named.

    Raises:
        NotFoundError: There is none, or no trial has ended by itself.
        UsageError: A trial is named of what is no study.
    """
    from launcher.jobs.resolve import find_job

    study = as_study(name)
    if study is None:
        _refuse_trial(trial, name)
        return find_job(name)
    from launcher.sweep.lifecycle import choose_best

    job = choose_best(study, trial=None if trial is None else trial - 1)
    if trial is None:
        echo(f"note: of {study.name} this is {job.name}, the best so far; {another}", err=True)
    return find_job(job.name)


def find_job_or_running(name: str | None, trial: int | None) -> ResolvedJob:
    """Return the job that is meant; of a study's name one that runs, else the best, and say which that is.

    Raises:
        NotFoundError: There is none.
        UsageError: A trial is named of what is no study.
    """
    from launcher.jobs.resolve import find_job

    study = as_study(name)
    if study is None:
        _refuse_trial(trial, name)
        return find_job(name)
    return find_job(job_of_study(study, trial))


def _refuse_trial(trial: int | None, name: str | None) -> None:
    from launcher.errors import UsageError

    if trial is not None:
        raise UsageError(where="--trial", expected="the name of a study beside it", got=name or "none")


def plot_trials(study: Study, *, whole: bool) -> Plot:
    """Return the curves of a study's trials: all of them, or those that are told apart in a picture."""
    from dataclasses import replace

    from launcher.sweep.curves import MOST, plot_study

    drawn = plot_study(study)
    (panel,) = drawn.panels
    if whole or len(panel.curves) <= MOST:
        return drawn
    echo(
        f"note: the best {MOST} of {len(panel.curves)} trials; `ftlaunch sweep report {study.name}` has all",
        err=True,
    )
    return replace(drawn, panels=(replace(panel, curves=panel.curves[:MOST]),))


def jobs_to_plot(name: str | None) -> list[str | None]:
    """Return the jobs that a name stands for: of a study those of its best trials, which it says."""
    study = as_study(name)
    if study is None:
        return [name]
    from launcher.sweep.curves import MOST, best_first
    from launcher.sweep.results import best_job

    trials = best_first(study)
    if len(trials) > MOST:
        echo(f"note: the best {MOST} of {len(trials)} trials of {study.name}", err=True)
    return [best_job(study, trial) for trial in trials[:MOST]]


def why_study(study: Study, *, output: str) -> None:
    """Say why a study stands as it does: of itself, then of the first of its jobs that does not go on."""
    from launcher.cli.options import echo_document
    from launcher.cli.sweep_document import study_to_json
    from launcher.cli.why import describe
    from launcher.errors import LaunchError
    from launcher.jobs.lifecycle import explain
    from launcher.jobs.resolve import find_job
    from launcher.sweep.explain import explain_study
    from launcher.sweep.lifecycle import look

    picture = look(study)
    explanation = explain_study(study, picture)
    if output in ("json", "yaml"):
        document = study_to_json(study, picture)
        echo_document(
            {**document, "why": [explanation.sentence, *explanation.evidence], "fix": explanation.fix}, output
        )
        return
    echo(f"{study.name}: {explanation.sentence}")
    for line in explanation.evidence:
        echo(f"  {line}")
    if explanation.fix:
        echo(f"  fix: {explanation.fix}")
    if explanation.job is not None:
        try:
            echo(f"\n{describe(explain(find_job(explanation.job)))}")
        except LaunchError as error:
            echo(f"note: {explanation.job}: {error}", err=True)
