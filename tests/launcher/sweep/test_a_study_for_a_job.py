"""Commands of one job that are given the name of a study: its trials' curves, the best trial's files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.studies import find_job_or_best
from launcher.plan.handle import Handle
from launcher.runs.paths import runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.sweep.trial_jobs import jobs_of
from launcher.sweep.trials import Trials, TrialState
from tests.launcher.schemas import check_document


@pytest.fixture
def study(make_study, tmp_path, monkeypatch):
    """Return what makes a study of so many trials, each better than the one before; the last one runs."""
    monkeypatch.chdir(tmp_path)

    def make(count: int = 4, *, ended: bool = True):
        made = make_study(trials=count, sampler="random", seed=1)
        trials, store = Trials(made), RunStore(runs_dir())
        for number in range(count):
            trials.claim()
            trials.report(number, {1: number / 100, 2: number / 50})
            (job,) = jobs_of(made, number)
            record = RunRecord(
                handle=Handle(backend="local", job=job.name), run_id=job.run_id, stage=Stage.SUBMITTED,
                project=str(tmp_path), config="/p/cfg.yaml", command=("sweep",), created_s=1.0,
                study=made.name,
            )  # fmt: skip
            store.begin(record, config=b"", manifest="", git=None)
            if ended and number < count - 1:
                trials.end(number, TrialState.COMPLETE, values={"": number / 50})
        return made

    return make


def test_plot_draws_the_studys_metric_of_its_trials_the_best_first(study, ftlaunch):
    made = study()
    ran = ftlaunch("plot", made.name)
    assert ran.code == 0, ran.err
    assert ran.out.startswith("top1\n")
    named = [line.split(": ")[0].split()[-1] for line in ran.out.splitlines() if " at epoch 2" in line]
    assert named == [f"{made.name}-t00{number}" for number in (4, 3, 2, 1)]
    document = json.loads(ftlaunch("plot", made.name, "--output", "json").out)
    assert check_document(document) == "plot"
    (panel,) = document["panels"]
    assert (panel["along"], panel["curves"][0]["points"]) == ("epoch", [[1, 0.03], [2, 0.06]])


def test_of_many_trials_the_best_are_drawn_and_a_program_gets_all(study, ftlaunch):
    made = study(9)
    ran = ftlaunch("plot", made.name, "--svg", "curves.svg")
    assert f"the best 6 of 9 trials; `ftlaunch sweep report {made.name}` has all" in ran.err
    assert Path("curves.svg").read_text().count("<polyline") == 6
    (panel,) = json.loads(ftlaunch("plot", made.name, "--output", "json").out)["panels"]
    assert len(panel["curves"]) == 9


def test_a_study_that_has_measured_nothing_is_not_drawn(make_study, ftlaunch):
    made = make_study()
    ran = ftlaunch("plot", made.name)
    assert ran.code == 4
    assert f"`ftlaunch sweep status {made.name}` says how far it is" in ran.err


@pytest.mark.parametrize("command", [["report"], ["ckpt", "ls"], ["ckpt", "pull"], ["ckpt", "verify"]])
def test_files_are_those_of_the_best_job_and_that_is_said_once(study, ftlaunch, command):
    made = study()
    ran = ftlaunch(*command, made.name)
    said = f"note: of {made.name} this is {made.name}-t003, the best so far; --trial N takes another\n"
    assert ran.err.count(said) == 1
    assert said not in ftlaunch(*command, made.name, "--trial", "2").err
    assert find_job_or_best(made.name, None).name == f"{made.name}-t003"
    assert find_job_or_best(made.name, 2).name == f"{made.name}-t002"


def test_without_a_trial_that_has_ended_what_to_type_is_said(study, ftlaunch):
    made = study(2, ended=False)
    ran = ftlaunch("ckpt", "ls", made.name)
    assert ran.code == 4
    assert f"got none yet; name one: `ftlaunch list {made.name}` has their jobs" in ran.err


def test_events_are_those_of_a_trial_that_runs(study, ftlaunch):
    made = study()
    ran = ftlaunch("events", made.name)
    assert f"note: of {made.name} this is trial 4; --trial N shows another" in ran.err
    assert f"{made.name}-t004" in ran.err
    assert f"{made.name}-t001" in ftlaunch("events", made.name, "--trial", "1").err


def test_a_command_is_run_in_a_trial_that_runs(study, ftlaunch):
    made = study()
    ran = ftlaunch("exec", made.name, "true")
    assert f"note: of {made.name} this is trial 4; --trial N shows another" in ran.err
    assert f"{made.name}-t004" in ran.err.partition("\n")[2]
    assert f"{made.name}-t001" in ftlaunch("exec", "--trial", "1", made.name, "true").err


def test_a_study_is_compared_by_its_best_job(study, ftlaunch):
    made = study()
    document = json.loads(ftlaunch("diff", made.name, f"{made.name}-t001", "--output", "json").out)
    assert (document["a"], document["b"]) == (f"{made.name}-t003", f"{made.name}-t001")
    assert "name another trial's job itself" in ftlaunch("diff", made.name, f"{made.name}-t001").err


def test_what_a_tracker_gets_is_the_best_jobs(study, ftlaunch, monkeypatch):
    made, sent = study(), []
    monkeypatch.setattr("launcher.cli.track.track_job", lambda job, *_, **__: sent.append(job.name) or ())
    ran = ftlaunch("track", made.name)
    assert (
        f"note: of {made.name} this is {made.name}-t003, the best so far; --trial N takes another" in ran.err
    )
    assert not ftlaunch("track", made.name, "--trial", "1").err
    assert sent == [f"{made.name}-t003", f"{made.name}-t001"]


@pytest.mark.parametrize("command", ["events", "report", "track"])
def test_a_trial_of_no_study_is_refused(command, ftlaunch):
    ran = ftlaunch(command, "flowers-a3f9k", "--trial", "2")
    assert ran.code == 2
    assert "--trial: expected the name of a study beside it, got flowers-a3f9k" in ran.err
