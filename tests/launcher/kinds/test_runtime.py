"""The runtime for others is an object that its API takes, with the pods that ftlaunch's own jobs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.kinds.registry import TRAIN_JOB
from launcher.render.crds import find_faults
from launcher.render.protection import find_weakenings
from launcher.render.render import render

RUNTIME = Path(__file__).resolve().parents[3] / "k8s/runtime/paddle-distributed.yaml"


@pytest.fixture
def runtime() -> Any:
    return yaml.safe_load(RUNTIME.read_text())


def pods(document: Any) -> Any:
    return document["spec"]["template"]["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]


def test_the_api_takes_it_as_it_takes_a_runtime_of_one_job(runtime):
    assert runtime["kind"] == "ClusterTrainingRuntime"  # the same spec, for the whole cluster
    assert find_faults({**runtime, "kind": "TrainingRuntime"}) == []


def test_its_pods_are_protected_and_ended_as_those_of_a_trainjob_of_ours(runtime, make_plan):
    (ours,) = render(make_plan(launch={"nodes": 2, "gpus": 0}, api="trainjob")).companions
    assert find_weakenings(pods(runtime), trainer=TRAIN_JOB.container) == []
    for document in (runtime, ours):
        (group,) = document["spec"]["template"]["spec"]["replicatedJobs"]
        document["job"] = group["template"]
    assert runtime["job"]["metadata"] == ours["job"]["metadata"]
    for key in ("completionMode", "backoffLimitPerIndex", "podFailurePolicy"):
        assert runtime["job"]["spec"][key] == ours["job"]["spec"][key]
    theirs, own = pods(runtime)["spec"], pods(ours)["spec"]
    for key in ("securityContext", "restartPolicy", "enableServiceLinks", "automountServiceAccountToken"):
        assert theirs[key] == own[key]
    (one,), (other,) = theirs["containers"], own["containers"]
    for key in ("name", "workingDir", "ports", "securityContext"):
        assert one[key] == other[key]
    wanted = {item["name"]: item for item in other["env"]}
    assert [item for item in one["env"] if item["name"] in wanted] == list(wanted.values())
