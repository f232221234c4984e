"""What goes wrong around jobs of each kind: a node that is off, other people.

A lost node takes two minutes: CI loses one under a JobSet, `make kind-table` under all kinds.
"""

from __future__ import annotations

import json

import pytest

from launcher.kinds.registry import JOB_SET, KINDS, PADDLE_JOB, TRAIN_JOB
from tests.e2e.cluster.kind_table import note, of_kinds, showing
from tests.e2e.cluster.test_faults import LONG, rows  # noqa: F401 - a fixture
from tests.e2e.cluster.test_kinds import delete, pod_of

NOWHERE = {"Launch__node_selector": {"no": "such"}}
OUT = "node.kubernetes.io/out-of-service"


@pytest.fixture(autouse=True)
def _controllers(controllers) -> None:
    """Those of all kinds run."""


def explained(place, *job):
    return json.loads(place.run("ftlaunch", "why", *job, "--output", "json").stdout)


@of_kinds(TRAIN_JOB)
def test_who_suspends_a_job_is_told_of_and_it_can_be_resumed(place, space, write_job, kind):
    with showing(kind, "suspended by somebody else"):
        submit = ("submit", write_job(**NOWHERE), "--api", kind.name, "--name", "held", "--no-preflight")
        place.run("ftlaunch", *submit)
        name, patch = f"{kind.resource.plural}/held", json.dumps(kind.suspend_patch(suspend=True))
        space.kubectl("patch", name, "--type=merge", "-p", patch)
        place.run("ftlaunch", "wait", "--for", "suspended", "--timeout", "60s")
        assert explained(place)["code"] == "suspended"
        place.run("ftlaunch", "resume")
        place.run("ftlaunch", "wait", "--for", "scheduling", "--timeout", "60s")
    delete(place, space, "held")


def test_a_trainjob_whose_runtime_is_gone_can_be_deleted_and_nothing_else(place, space, write_job):
    for kind in KINDS:
        if kind is not TRAIN_JOB:  # of the others nothing is in a runtime
            note(kind, "why: its runtime is gone", how="not there")
    with showing(TRAIN_JOB, "why: its runtime is gone"):
        submit = ("submit", write_job(**NOWHERE), "--api", "trainjob", "--name", "bare", "--no-preflight")
        place.run("ftlaunch", *submit)
        place.run("ftlaunch", "wait", "--for", "scheduling", "--timeout", "60s")
        space.kubectl("delete", "trainingruntime", "bare", "--wait=false")
        place.wait_for(lambda: explained(place)["code"] == "runtime-missing", what="the verdict")
        refused = place.run("ftlaunch", "cancel", code=None)
        assert "Traceback" not in refused.stderr
    delete(place, space, "bare")


@pytest.mark.table  # a minute and more; test_outages.py shows it of PaddleJobs
@of_kinds(JOB_SET)
def test_a_job_whose_node_is_off_goes_on_elsewhere_once_that_is_said(
    place,
    space,
    write_job,
    kit,
    cluster,
    rows,  # noqa: F811
    kind,
):
    """Force frees no pod of a Job; what `why` names does, and the old pod writes no more."""
    with showing(kind, "node lost"):
        cfg = write_job(**LONG, Global__save_every_steps=1)
        place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", "pair")
        place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
        old = pod_of(space, kind, "pair", 1)
        host = old["spec"]["nodeName"]
        number = host.removeprefix("n")
        kit.run("node-cut", number)
        try:
            place.run("ftlaunch", "wait", "--for", "restarting", "--timeout", "120s")
            why = explained(place)
            name = old["metadata"]["name"]
            cure = f"delete pod {name} --force" if kind is PADDLE_JOB else f"kubectl taint node {host} {OUT}"
            assert (why["code"], cure in why["fix"]) == ("node-lost", True), why
            if kind is PADDLE_JOB:
                space.kubectl("delete", "pod", name, "--force", "--grace-period=0")
            else:
                cluster.kubectl("taint", "node", host, f"{OUT}=nodeshutdown:NoExecute")
            place.wait_for(
                lambda: pod_of(space, kind, "pair", 1)["metadata"]["uid"] != old["metadata"]["uid"],
                what="another pod of node 1", timeout_s=120,
            )  # fmt: skip
        finally:
            kit.run("node-cut", number, "heal")
            cluster.kubectl("taint", "node", host, f"{OUT}-", code=None)
        place.run("ftlaunch", "wait", "--timeout", "170s")
        assert place.status()["state"] == "Succeeded"
        steps = [row["step"] for row in rows() if row["event"] == "step"]
        assert max(steps) == 80
    delete(place, space, "pair")
