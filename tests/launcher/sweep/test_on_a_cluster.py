"""A study on the cluster in memory: ordinary jobs, by name and label, and how often the cluster is asked."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from launcher.cli.main import run
from launcher.names import SWEEP_LABEL
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.sweep.lifecycle import make_driver
from launcher.sweep.machine import share_cluster
from launcher.sweep.study import find_study
from launcher.sweep.trial_jobs import jobs_of
from launcher.sweep.trials import Trials, TrialState
from tests.launcher.schemas import check_document
from tests.launcher.sweep.conftest import EVAL, RATE, SETTINGS


def begin(config, *more):
    """Begin a study without going on with it, as a driver leaves it that is killed at once."""
    from launcher.jobs.options import SubmitOptions
    from launcher.sweep import lifecycle
    from launcher.sweep.begin import SweepRequest, plan_study

    request = SweepRequest(
        config=config, over=(f"{RATE}=[0.1,0.2,0.3]",), name="rates", parallel=2,
        options=SubmitOptions(on="kubernetes", preflight=False),
    )  # fmt: skip
    return lifecycle.begin(plan_study(replace(request, **dict(more))))


def test_trials_are_jobs_that_measure_and_end(config, cluster, capsys):
    study = begin(config)
    assert cluster.names("paddlejobs") == ("rates-t001", "rates-t002")
    labels = {item["metadata"]["labels"].get(SWEEP_LABEL) for item in cluster._store.all("paddlejobs")}
    assert labels == {"rates"}
    driver = make_driver(study, share_cluster(2))
    for number in (1, 2, 3):
        pod = f"rates-t00{number}-worker-0"
        cluster.start_pod(pod)
        for epoch in (1, 2, 3):
            cluster.write_log(pod, EVAL.format(epoch=epoch, value=number / 10 + epoch / 100).encode())
        driver.step()
        cluster.finish_pod(pod, 0)
        picture = driver.step()
    assert picture.is_over
    assert [trial.value for trial in picture.trials] == pytest.approx([0.13, 0.23, 0.33])
    assert run(["status", "rates", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert check_document(document) == "sweep"
    assert (document["winner"], document["best"], document["state"]) == (3, pytest.approx(0.33), "Succeeded")
    assert run(["list"]) == 0
    out = capsys.readouterr().out
    assert "rates-t001" not in out
    assert run(["list", "rates", "--output", "name"]) == 0
    assert capsys.readouterr().out.split() == ["rates-t003", "rates-t002", "rates-t001"]
    assert run(["logs", "rates", "--trial", "2", "--no-prefix"]) == 0
    assert "top1: 0.23" in capsys.readouterr().out
    assert run(["why", "rates"]) == 0
    assert "all its trials have ended" in capsys.readouterr().out
    assert run(["delete", "rates"]) == 0
    assert cluster.names("paddlejobs") == ()
    assert run(["status", "rates"]) == 4


def test_what_is_cancelled_is_suspended_and_goes_on_where_it_was(config, cluster, capsys, monkeypatch):
    begin(config)
    assert run(["cancel", "rates"]) == 0
    assert "2 trials told to save and stop" in capsys.readouterr().err
    assert run(["why", "rates"]) == 0
    assert "it was cancelled" in capsys.readouterr().out
    from launcher.sweep import lifecycle

    monkeypatch.setattr(lifecycle, "detach", lambda study: 4711)
    assert run(["resume", "rates"]) == 0
    assert "process 4711 goes on with it" in capsys.readouterr().err
    assert all(not item["spec"]["runPolicy"].get("suspend") for item in cluster._store.all("paddlejobs"))


def test_a_submit_that_was_cut_off_is_made_whole_and_not_made_twice(config, cluster, store):
    study = begin(config)
    record = store.load("rates-t001")
    store._save(replace(record, stage=Stage.SUBMITTING))  # killed before it could write that it was done
    make_driver(study, share_cluster(2)).step()
    assert store.load("rates-t001").stage is Stage.SUBMITTED
    made = Counter(text for text in cluster.requests if text.startswith("create paddlejobs"))
    assert made == {"create paddlejobs rates-t001": 1, "create paddlejobs rates-t002": 1}


def test_how_often_a_cluster_is_asked_does_not_depend_on_the_trials(
    config,
    cluster,
    store,
    make_study,
    capsys,
):
    asked = {}
    for count in (5, 60):
        study = make_study(
            name=f"study-{count}", study_id=f"{count:032x}", on="kubernetes", sampler="random", trials=count,
            over=(f"{RATE}=log(1e-3,1)",),
        )  # fmt: skip
        trials = Trials(study)
        for number in range(count):
            trial = trials.claim()
            (job,) = jobs_of(study, number)
            record = RunRecord(
                handle=Handle(backend="kubernetes", namespace="ml", job=job.name), run_id=job.run_id,
                study=study.name, stage=Stage.SUBMITTED, project="/", config="cfg.yaml", command=(),
                created_s=float(number),
            )  # fmt: skip
            store.begin(record, config=b"", manifest="", git=None)
            if number < count - 2:
                trials.end(trial.number, TrialState.COMPLETE, values={"": number / count})
        asked[count] = []
        for command in (["status", study.name], ["list", study.name, "--limit", "1000"], ["list"]):
            before = len(cluster.requests)
            assert run(command) == 0, command
            asked[count].append(len(cluster.requests) - before)
        capsys.readouterr()
    assert asked[5] == asked[60]
    assert max(asked[60]) <= 2


def test_the_study_that_was_begun_last_is_meant_without_a_name(make_study):
    make_study(name="old", created_s=1.0)
    make_study(name="new", created_s=2.0)
    assert find_study(None).name == "new"
    assert SETTINGS.name == "digits-abcde"
