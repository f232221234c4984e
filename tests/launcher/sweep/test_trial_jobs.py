"""What the jobs of trials are submitted with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.errors import TakenError
from launcher.sweep import trial_jobs
from launcher.sweep.machine import Place
from launcher.sweep.study import begin_study
from launcher.sweep.trial_jobs import jobs_of, options_of
from launcher.sweep.trials import Trial, TrialState
from tests.launcher.sweep.conftest import SETTINGS

VOLUMES = "Launch: {volumes: [{mount: /data, claim: d}, {mount: /output, claim: o%s}]}\n"


@pytest.mark.parametrize(
    ("launch", "folder"),
    [
        ("", "/output/run/digits-abcde/t001"),
        (VOLUMES % "", "/output/run/digits-abcde/t001"),
        (VOLUMES % ", sub_path: all", "/output/run/digits-abcde/t001"),
        (VOLUMES % ", sub_path: 'all/{job}'", "/output/run"),
        ("Launch: {volumes: [{mount: /, claim: o, sub_path: '{job}'}]}\n", "/output/run"),
        (
            "Launch: {volumes: [{mount: /out, claim: o, sub_path: '{job}'}]}\n",
            "/output/run/digits-abcde/t001",
        ),
    ],
    ids=["no volumes", "shared", "a part of a volume", "a folder a job", "around all", "another folder"],
)
def test_a_trial_has_a_folder_of_its_own_once(launch, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    content = f"Global: {{output_dir: /output/run}}\nOptimizer: {{lr: {{learning_rate: 0.1}}}}\n{launch}"
    study = begin_study(replace(SETTINGS), content.encode())
    (job,) = jobs_of(study, 0)
    trial = Trial(number=0, state=TrialState.RUNNING, params={"Optimizer.lr.learning_rate": 0.2})
    options = options_of(study, trial, job, place=Place(slot=0))
    assert options.overrides[-1] == f"Global.output_dir='{folder}'"


@pytest.mark.parametrize("refusals", [1, 3])
def test_a_name_that_a_killed_driver_held_is_asked_for_again(refusals, tmp_path, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    asked = []

    def submit(config, options, **_):
        asked.append(options.name)
        if len(asked) <= refusals:  # its record is gone by the time that it is looked at
            raise TakenError(where=options.name, expected="a free name", got="that of an earlier run")

    monkeypatch.setattr("launcher.jobs.submit.submit", submit)
    study = begin_study(replace(SETTINGS), b"Global: {}\nOptimizer: {lr: {learning_rate: 0.1}}\n")
    trial = Trial(number=1, state=TrialState.RUNNING, params={"Optimizer.lr.learning_rate": 0.2})
    (job,) = jobs_of(study, 1)
    jobs = trial_jobs.LaunchedJobs(study)
    if refusals == 1:
        jobs.start(trial, job, place=Place(slot=0))
        assert len(asked) == 2
    else:
        with pytest.raises(TakenError):
            jobs.start(trial, job, place=Place(slot=0))
