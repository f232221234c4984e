"""What the jobs of trials are submitted with."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
