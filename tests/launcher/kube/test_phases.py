from __future__ import annotations

import json
from typing import Any

import pytest

from launcher.backends.kubernetes.pods import is_restart
from launcher.backends.kubernetes.status import read_job
from launcher.backends.states import JobState
from launcher.kinds.registry import PADDLE_JOB

Pod = dict[str, Any]
CREATED = {"type": "Created", "status": "True"}
RUNNING = {"type": "Running", "status": "True"}
SUSPENDED = {"type": "Suspended", "status": "True"}
AGAIN = {"type": "Restarting", "status": "True", "message": "is restarting"}


def clock(second: int) -> str:
    return f"2026-01-01T00:{second // 60:02d}:{second % 60:02d}Z"


def pod(index: int, state: Pod | None = None, *, host: str = "n1", born: int = 0, ready: str = "True") -> Pod:
    phase = "Running" if state and "running" in state else "Pending"
    status: Pod = {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
    if state is not None:
        status["containerStatuses"] = [{"name": "paddle", "restartCount": 0, "state": state}]
    return {
        "metadata": {
            "name": f"job-worker-{index}", "creationTimestamp": clock(born),
            "labels": {"training.kubeflow.org/replica-index": str(index)},
        },
        "spec": {"nodeName": host} if host else {}, "status": status,
    }  # fmt: skip


def runs(index: int, *, since: int = 1, **more: Any) -> Pod:
    return pod(index, {"running": {"startedAt": clock(since)}}, **more)


def waits(index: int, reason: str = "ContainerCreating", **more: Any) -> Pod:
    return pod(index, {"waiting": {"reason": reason}}, **more)


def job(*conditions: dict[str, str], suspend: bool = False, queue: str = "") -> Pod:
    labels = {"ftlaunch.io/run-id": "r"} | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    return {
        "metadata": {"name": "job", "namespace": "ml", "uid": "u", "labels": labels},
        "spec": {"runPolicy": {"suspend": suspend}, "paddleReplicaSpecs": {"Worker": {"replicas": 2}}},
        "status": {"conditions": list(conditions)},
    }


@pytest.mark.parametrize(("given", "pods", "state"), [
    (job(), [], JobState.SUBMITTED),
    (job(CREATED), [], JobState.SUBMITTED),
    (job(CREATED, suspend=True, queue="team"), [], JobState.QUEUED),
    (job(CREATED, suspend=True), [], JobState.SUSPENDED),
    (job(CREATED), [waits(0), pod(1, host="")], JobState.SCHEDULING),
    (job(CREATED, RUNNING), [runs(0), pod(1, host="")], JobState.SCHEDULING),
    (job(CREATED), [waits(0), waits(1, "ImagePullBackOff")], JobState.PULLING),
    (job(CREATED), [waits(0), waits(1)], JobState.STARTING),
    (job(CREATED, RUNNING), [runs(0), waits(1)], JobState.STARTING),
    (job(CREATED), [runs(0), runs(1)], JobState.RUNNING),
    (job(CREATED, AGAIN), [runs(0), waits(1)], JobState.RESTARTING),
    (job(CREATED, RUNNING), [runs(0), waits(1, born=60)], JobState.RESTARTING),
    (job(CREATED, AGAIN), [runs(0), runs(1)], JobState.RUNNING),
    (job(CREATED, RUNNING), [runs(0), runs(1, ready="False", host="n2")], JobState.RESTARTING),
], ids=[
    "not looked at", "no pods yet", "held by a queue", "suspended", "one without a node",
    "one runs, one without a node", "one without an image", "containers are made", "one runs, one is made",
    "all run", "one restarts", "one was made again after others had begun", "all run again",
    "a node fell silent",
])  # fmt: skip
def test_the_phase_is_that_of_the_pod_furthest_behind(given: Pod, pods: list[Pod], state: JobState) -> None:
    status = read_job(given, pods, restarts={}, progress=None)
    assert status.state is state


@pytest.mark.parametrize("given", [
    job(), job(CREATED, RUNNING), job(CREATED, suspend=True, queue="team"), job(CREATED, suspend=True),
    {**job(SUSPENDED, suspend=True), "metadata": {
        "name": "job", "namespace": "ml", "uid": "u", "labels": {"ftlaunch.io/run-id": "r", "more": "m"},
        "annotations": {"ftlaunch.io/cancelled": "true", "more": "m"}, "creationTimestamp": clock(1),
    }},
    {**job(CREATED), "metadata": {
        "name": "job", "namespace": "ml", "uid": "u", "deletionTimestamp": clock(1), "finalizers": ["f"],
    }},
], ids=["new", "running", "queued", "suspended", "cancelled", "being deleted"])  # fmt: skip
def test_what_is_kept_of_a_job_in_a_list_says_how_it_stands(given: Pod) -> None:
    kept = PADDLE_JOB.trim({**given, "spec": {**given["spec"], "more": "m"}})
    assert "more" not in json.dumps(kept)
    assert read_job(kept, [], restarts={}, progress=None) == read_job(given, [], restarts={}, progress=None)


def test_a_lost_node_is_named_with_what_the_job_waits_for() -> None:
    pods = [runs(0), runs(1, ready="False", host="n2")]
    reason = read_job(job(CREATED, RUNNING), pods, restarts={}, progress=None).reason
    assert reason == "job-worker-1: its node n2 does not answer; the job goes on when the node is back"


def test_a_thousand_pods_that_take_a_minute_to_be_made_are_one_start() -> None:
    pods = [runs(index, since=1 + index // 20, born=index // 20) for index in range(980)]
    assert not is_restart([*pods, waits(980, born=49)])
    assert is_restart([*pods, waits(980, born=56)])


@pytest.mark.parametrize(("born", "again"), [(3, False), (5, False), (7, True)])
def test_pods_of_one_start_may_be_made_some_seconds_apart(born: int, again: bool) -> None:
    assert is_restart([runs(0, since=1), waits(1, born=born)]) is again
