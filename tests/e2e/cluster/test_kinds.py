"""The same job as each kind of job object: the whole way, and what goes wrong on it.

PaddleJobs go through all other tests of this folder; here are those that are a Job inside. What is the Job
controller's doing in all of them is shown of one kind (`of_kinds`). What each block has shown is kept where a
table is wanted (`kind_table`), which docs/kubernetes.md has.
"""

from __future__ import annotations

import json

import pytest

from launcher.kinds.base import JobKind
from launcher.kinds.registry import JOB_SET, PADDLE_JOB, PLAIN_JOB, TRAIN_JOB
from tests.e2e.cluster.kind_table import note, of_kinds, showing
from tests.e2e.cluster.test_faults import LONG, rows  # noqa: F401 - a fixture

EPOCHS = 80
"""A dozen commands are typed while it trains, also where pods have more of the machine than they."""
END_PID_1 = "import os, signal; os.kill(1, signal.SIGTERM)"


@pytest.fixture(autouse=True)
def _controllers(controllers) -> None:
    """Those of all kinds run."""


def pod_of(space, kind: JobKind, job: str, node: int):
    """Return the newest pod of a node, as kubectl sees it."""
    items = space.get("pods", "-l", f"{kind.pod_selector(job)},{kind.index_label}={node}")["items"]
    return max(items, key=lambda pod: (pod["metadata"]["creationTimestamp"], "running" in str(pod["status"])))


def delete(place, space, job):
    place.run("ftlaunch", "delete", job, "--force")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the job to be left")


@of_kinds(TRAIN_JOB)  # which has a JobSet inside, and that plain Jobs
def test_a_job_goes_the_whole_way(place, space, write_job, rows, kind):  # noqa: F811
    cfg = write_job(**{**LONG, "Global__epochs": EPOCHS})
    ask = ("submit", cfg, "--api", kind.name, "--name", "pair")
    with showing(kind, "dry run"):
        said = place.run("ftlaunch", *ask, "--dry-run", "server").stderr
        assert f"the {kind.resource.kind} in {space.name}: schema, admission" in said
        assert space.leftovers() == []
    with showing(kind, "submit", "status", "logs"):
        place.run("ftlaunch", *ask)
        place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
        place.run("ftlaunch", "wait", "--for", "running", "--timeout", "60s")
        status = place.status()
        assert [pod["node"] for pod in status["pods"]] == [0, 1]
        assert "[rank 0]" in place.run("ftlaunch", "logs", "--tail", "20").stdout
        assert "pair" in place.run("ftlaunch", "list", "--state", "running").stdout
    with showing(kind, "submit exactly once"):
        again = place.run("ftlaunch", *ask, code=2)
        assert "expected a free name" in again.stderr
        assert space.names(kind.resource.plural).count("pair") == 1
    with showing(kind, "exec"):
        done = place.run("ftlaunch", "exec", "pair", "--node", "1", "--", "python", "-c", "print('here')")
        assert done.stdout.strip() == "here"
    with showing(kind, "restart after 143"):
        old = pod_of(space, kind, "pair", 1)
        waiting = place.begin("ftlaunch", "wait", "--for", "restarting", "--timeout", "60s")
        space.run_in_pod(old["metadata"]["name"], END_PID_1)  # which is made again ten seconds later
        _, words = waiting.communicate(timeout=90)
        assert waiting.returncode == 0, words
        place.wait_for(
            lambda: pod_of(space, kind, "pair", 1)["metadata"]["uid"] != old["metadata"]["uid"],
            what="another pod of node 1",
        )
        place.run("ftlaunch", "wait", "--for", "running", "--timeout", "90s")
    if kind is PADDLE_JOB:  # its operator deletes a pod that has ended, and its log with it
        note(kind, "restarts counted", "logs --previous", how="not there")
    else:
        with showing(kind, "restarts counted"):
            assert place.status()["pods"][1]["restarts"] >= 1
        with showing(kind, "logs --previous"):
            assert place.run("ftlaunch", "logs", "--previous", "--node", "1").stdout
    with showing(kind, "pod evicted"):
        old = pod_of(space, kind, "pair", 0)
        space.evict(old["metadata"]["name"])
        place.wait_for(
            lambda: pod_of(space, kind, "pair", 0)["metadata"]["uid"] != old["metadata"]["uid"],
            what="another pod of node 0",
        )
        place.run("ftlaunch", "wait", "--for", "running", "--timeout", "90s")
    with showing(kind, "cancel"):
        place.run("ftlaunch", "cancel")
        place.run("ftlaunch", "wait", "--timeout", "90s", code=6)
        assert place.status()["state"] == "Cancelled"
        living = [pod for pod in space.get("pods")["items"] if pod["status"]["phase"] == "Running"]
        assert living == []
    with showing(kind, "resume", "wait"):
        before = max(row["step"] for row in rows() if row["event"] == "step")
        place.run("ftlaunch", "resume")
        place.run("ftlaunch", "wait", "--timeout", "170s")
        assert place.status()["state"] == "Succeeded"
        assert max(row["step"] for row in rows() if row["event"] == "step") == EPOCHS * 2 > before
    with showing(kind, "events"):
        assert "SuccessfulCreate" in place.run("ftlaunch", "events").stdout
    with showing(kind, "ckpt"):
        assert f"s{EPOCHS * 2:06}" in place.run("ftlaunch", "ckpt", "ls").stdout
    with showing(kind, "delete"):
        delete(place, space, "pair")
        assert space.names(kind.resource.plural) == []


@of_kinds(JOB_SET)
def test_an_exit_of_the_trainer_fails_the_job_and_keeps_its_pods_and_logs(place, space, write_job, kind):
    cfg = write_job(Global__epochs=1, Optimizer__lr={"name": "Constant", "learning_rate": 1e30})
    with showing(kind, "exit 1 to 127"):
        place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", "pair")
        place.run("ftlaunch", "wait", "--timeout", "150s", code=5)
        place.run("ftlaunch", "wait", "--propagate", code=4)
        assert "expected a finite loss" in place.run("ftlaunch", "status").stdout
        assert len(space.names("pods")) == 2
        assert "expected a finite loss" in place.run("ftlaunch", "logs").stdout
    with showing(kind, "why"):
        why = json.loads(place.run("ftlaunch", "why", "--output", "json").stdout)
        assert why["code"] == "diverged", why
    delete(place, space, "pair")


@of_kinds(JOB_SET, PLAIN_JOB, TRAIN_JOB)
def test_what_the_job_inside_would_refuse_is_refused_before_anything_is_made(place, space, write_job, kind):
    if kind is PADDLE_JOB:  # its webhook does not look at that, and its pods would never be made
        note(kind, "refused before it is made", how="not there")
        return
    patch = {"spec": {"activeDeadlineSeconds": -1}}
    cfg = write_job(Launch__pod_patch=patch)
    with showing(kind, "refused before it is made"):
        for more in (("--dry-run", "server"), ()):
            done = place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", "bad", *more, code=None)
            assert done.returncode == 2, done.stderr
            assert "activeDeadlineSeconds" in done.stderr
        assert space.leftovers() == []


@of_kinds(TRAIN_JOB)
def test_a_pod_that_may_not_be_made_is_told_of(place, space, write_job, kind):
    with showing(kind, "why: pods refused"):
        cfg = write_job(Launch__rdma=True)  # adds IPC_LOCK, which the level restricted forbids
        place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", "locks", "--no-preflight")
        place.wait_for(lambda: "violates PodSecurity" in place.status()["reason"], what="the reason")
        why = json.loads(place.run("ftlaunch", "why", "--output", "json").stdout)
        assert why["code"] == "pod-security", why
        place.run("ftlaunch", "cancel")
        place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    delete(place, space, "locks")


def test_auto_is_a_paddlejob_where_that_may_be_made_and_what_is_left_where_not(place, space, write_job):
    nowhere = write_job(Launch__node_selector={"no": "such"})
    said = place.run("ftlaunch", "submit", nowhere, "--name", "first", "--no-preflight").stderr
    assert "as a PaddleJob of kubeflow.org/v1 (api auto: the first kind" in said
    for kind in (PADDLE_JOB, JOB_SET, PLAIN_JOB):  # an administrator takes one grant after another
        space.withdraw(kind.resource.plural)
        name = f"after-{kind.name}"
        done = place.run("ftlaunch", "submit", nowhere, "--name", name, "--no-preflight")
        assert f"you may not create {kind.resource.plural}" in done.stderr
    assert "as a TrainJob of trainer.kubeflow.org/v1alpha1" in done.stderr
    assert space.names("trainjobs") == ["after-job"]
