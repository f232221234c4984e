"""Gangs by the coscheduling plug-in of a real scheduler: all pods of a job start, or none.

The room is a resource that only these jobs ask for, so nothing else is in their way or in them.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.cluster.access import Cluster
from tests.e2e.cluster.seats import Seats
from tests.e2e.cluster.space import REPOSITORY, USER, Space
from tests.e2e.cluster.test_faults import LONG, delete
from tests.e2e.cluster.test_manifest import NOWHERE
from tests.e2e.conftest import Place

GROUPS = "podgroups.scheduling.x-k8s.io"


@pytest.fixture
def seats(gangs: None, cluster: Cluster) -> Iterator[Seats]:
    del gangs
    made = Seats(cluster=cluster)
    made.offer(1, 1)
    yield made
    made.withdraw()


@pytest.fixture
def write_gang(write_job, seats):
    """Write a job each pod of which takes a seat."""
    container = {"name": "paddle", "resources": seats.ask()}

    def write(name: str = "cfg.yaml", **changes: Any) -> str:
        patch = {"spec": {"containers": [container]}}
        return write_job(name, Launch__pod_patch=patch, **{**LONG, "Global__epochs": 4000, **changes})

    return write


@pytest.fixture
def counting(space) -> Iterator[None]:
    """Let the user count room on the nodes, as k8s/rbac/capacity.yaml does."""
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac/capacity.yaml"))
    account = f"--serviceaccount={space.name}:{USER}"
    space.kubectl("create", "clusterrolebinding", space.name, "--clusterrole=ftlaunch-capacity", account)
    yield
    space.kubectl("delete", "clusterrolebinding", space.name)


def put_pod(space: Space, name: str, **resources: Any) -> None:
    """Run a pod of nobody's job, and see that it has a node."""
    container = {
        "name": "sleep", "image": space.cluster.image, "resources": resources,
        "command": ["python", "-c", "import time; time.sleep(3600)"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    spec = {
        "containers": [container], "terminationGracePeriodSeconds": 1,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"},
        },
    }  # fmt: skip
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    space.cluster.apply(pod, namespace=space.name)
    space.kubectl("wait", "--for=condition=PodScheduled", f"pod/{name}", "--timeout=30s")


def hosts(space: Space, job: str) -> list[str]:
    """Return the nodes of a job's pods, empty for those that have none."""
    pods = space.get("pods", "-l", f"training.kubeflow.org/job-name={job}")["items"]
    return [pod["spec"].get("nodeName", "") for pod in pods]


def wait_for(place: Place, space: Space, true: Callable[[], Any], *, what: str) -> None:
    """As `Place.wait_for`; where the scheduler met a pod before its PodGroup, it is made to look again."""

    def look() -> Any:
        if "PodGroup not found" in json.dumps(space.get("pods", "--field-selector=status.phase=Pending")):
            put_pod(space, f"any-{secrets.token_hex(3)}")
        return true()

    place.wait_for(look, what=what)


def has_begun(space: Space, job: str) -> bool:
    found = hosts(space, job)
    return len(found) == 2 and all(found)


def explain(place, *job: str) -> dict[str, Any]:
    return json.loads(place.run("ftlaunch", "why", *job, "--output", "json").stdout)


def test_a_gang_waits_as_a_whole_says_why_and_starts_as_a_whole(place, space, seats, write_gang):
    put_pod(space, "holder", **seats.ask())
    place.run("ftlaunch", "submit", write_gang(), "--name", "pair")
    wait_for(place, space, lambda: "Insufficient" in place.status()["reason"], what="the scheduler's word")
    assert place.status()["state"] == "Scheduling"
    assert f"(short of 1 {seats.resource})" in place.status()["reason"]
    why = explain(place)
    assert (why["code"], why["resolves"]) == ("gang-incomplete", "later"), why
    assert why["sentence"] == (
        "its pods start together or not at all, and all 2 pods wait; when the scheduler last looked, "
        f"the nodes lacked 1 {seats.resource} for that"
    )
    assert "PodGroup pair: minMember 2" in why["evidence"]
    assert why["fix"] == "wait, or ask for fewer with --nodes or --gpus"
    assert not any(item["what"].startswith("podgroups") for item in why["skipped"])
    assert hosts(space, "pair") == ["", ""]
    space.kubectl("delete", "pod", "holder")
    put_pod(space, "any")  # a pod that finds a node has the scheduler look at gangs again
    wait_for(place, space, lambda: has_begun(space, "pair"), what="all of it to start")
    place.run("ftlaunch", "wait", "--for", "running", "--timeout", "60s")
    assert sorted(hosts(space, "pair")) == sorted(seats.nodes)
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    assert space.names(GROUPS) == []
    place.run("ftlaunch", "resume")
    wait_for(place, space, lambda: has_begun(space, "pair"), what="all of it to start")
    place.run("ftlaunch", "wait", "--for", "running", "--timeout", "60s")
    assert space.names(GROUPS) == ["pair"]
    space.kubectl("delete", "pod", "any", "--wait=false")
    place.run("ftlaunch", "delete", "pair", "--force")
    place.wait_for(lambda: space.names(GROUPS) == [], what="its group to be gone")


def test_of_a_queue_for_volcano_coscheduling_takes_the_number_of_pods_alone(place, space, seats, write_job):
    cfg = write_job(Launch__queue={"volcano": "team-a"}, Launch__resources={"cpu": "10m"}, **NOWHERE)
    place.run("ftlaunch", "submit", cfg, "--name", "pair")
    policy = {"queue": "team-a", "minAvailable": 2}
    assert space.get("paddlejob", "pair")["spec"]["runPolicy"]["schedulingPolicy"] == policy
    place.wait_for(lambda: space.names(GROUPS) == ["pair"], what="its group")
    assert space.get(GROUPS, "pair")["spec"] == {"minMember": 2, "minResources": {"cpu": "20m"}}
    assert (
        "coscheduling (the training operator makes a gang of every job)"
        in place.run("ftlaunch", "doctor").stdout
    )
    delete(place, space, "pair")
    place.run("ftlaunch", "submit", cfg, "--name", "alone", "--nodes", "1")
    place.wait_for(lambda: space.names(GROUPS) == ["alone"], what="its group")
    assert space.get(GROUPS, "alone")["spec"]["minMember"] == 1
    delete(place, space, "alone")


@pytest.mark.usefixtures("counting")
def test_of_two_gangs_one_runs_and_the_other_starts_when_it_is_resumed(place, space, seats, write_gang):
    cfg = write_gang()

    def submit(name: str) -> tuple[str, ...]:
        return ("ftlaunch", "submit", cfg, "--name", name, "-o", f"Global.output_dir=/output/{name}")

    both = [place.begin(*submit(name)) for name in ("one", "two")]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    begun = lambda: has_begun(space, "one") or has_begun(space, "two")  # noqa: E731
    wait_for(place, space, begun, what="one of them to start")
    won, lost = ("one", "two") if has_begun(space, "one") else ("two", "one")
    place.wait_for(lambda: explain(place, lost)["code"] == "insufficient-resource", what="no room for it")
    assert f"it needs 2 × 1 {seats.resource}; 0 of 2 pods fit now" in explain(place, lost)["sentence"]
    assert hosts(space, lost) == ["", ""]
    place.run("ftlaunch", "delete", won, "--force")
    place.wait_for(lambda: explain(place, lost)["code"] == "gang-ready", what="room for it")
    assert f"ftlaunch cancel {lost} and then ftlaunch resume {lost}" in explain(place, lost)["fix"]
    place.run("ftlaunch", "cancel", lost)
    place.run("ftlaunch", "wait", lost, "--timeout", "60s", code=6)
    place.run("ftlaunch", "resume", lost)
    wait_for(place, space, lambda: has_begun(space, lost), what="the other to start")
    seats.offer(2, 1)
    warned = place.run(*submit("third")).stderr
    assert (
        f"its pods start together or not at all: it needs 2 × 1 {seats.resource}; 1 of 2 pods fits" in warned
    )
    assert "[gang-incomplete]" in warned
    short = lambda: explain(place, "third")["code"] == "gang-incomplete"  # noqa: E731
    wait_for(place, space, short, what="no room for it")
    place.run("ftlaunch", "delete", "third", "--force")
    delete(place, space, lost)
