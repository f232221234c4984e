"""What the numbers of pods' starts are, and what of their logs the API has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.pods import RestartCounter
from launcher.kube.failures import RequestContext
from launcher.objects import KubeObject
from tests.fakes.cluster import FakeCluster
from tests.fakes.log_client import FakeLogClient

W0 = "flowers-worker-0"

REPLICA_INDEX = "training.kubeflow.org/replica-index"
JOB: dict[str, Any] = {"metadata": {"uid": "job"}}


def pod(uid: str, *, restarts: int, state: str, last: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {"name": "paddle", "restartCount": restarts, "state": {state: {}}}
    if last:
        container["lastState"] = {last: {}}
    return {
        "metadata": {"name": W0, "namespace": "ml", "uid": uid, "labels": {REPLICA_INDEX: "0"}},
        "status": {"containerStatuses": [container]},
    }


def test_restarts_in_place_and_recreations_share_one_count() -> None:
    seen = RestartCounter()
    numbers = [
        seen.read(JOB, item).number
        for item in (
            pod("a", restarts=0, state="running"), pod("a", restarts=2, state="running"),
            pod("b", restarts=0, state="waiting"), pod("b", restarts=1, state="running"),
            pod("c", restarts=0, state="terminated"),
        )
    ]  # fmt: skip
    assert numbers == [0, 2, 3, 4, 5]


class OnePod(FakeLogClient):
    """A cluster with the job and one pod of it, as a test has it."""

    def __init__(self, cluster: FakeCluster, item: dict[str, Any]) -> None:
        super().__init__(cluster)
        self._item = item

    async def fetch(self, path: str, query: Mapping[str, str], call: RequestContext) -> KubeObject:
        found = await super().fetch(path, query, call)
        for pod in found.get("items", ()) if path.endswith("/pods") else ():
            pod["metadata"]["uid"], pod["status"] = self._item["metadata"]["uid"], self._item["status"]
        return found


@pytest.mark.parametrize(("item", "earlier", "has_started", "has_ended"), [
    (pod("a", restarts=0, state="waiting"), [], False, False),
    (pod("a", restarts=0, state="running"), [], True, False),
    (pod("a", restarts=1, state="running", last="terminated"), [0], True, False),
    (pod("a", restarts=3, state="waiting", last="terminated"), [2], True, True),
    (pod("a", restarts=0, state="terminated"), [], True, True),
], ids=["creating", "running", "restarted", "about to restart", "ended"])  # fmt: skip
def test_a_pod_says_what_logs_it_has(
    cluster: FakeCluster, backend: KubernetesBackend, submission: Callable[..., Submission],
    item: dict[str, Any], earlier: list[int], has_started: bool, has_ended: bool,
) -> None:  # fmt: skip
    handle = backend.submit(submission(nodes=1))
    backend.make_async_client = lambda: OnePod(cluster, item)
    (found,) = asyncio.run(backend.log_source(handle).snapshot()).pods
    assert (found.container.uid, found.container.node) == ("a", 0)
    assert [container.restarts for container in found.earlier] == earlier
    assert (found.has_started, found.has_ended) == (has_started, has_ended)


def test_a_recreated_pod_has_a_log_of_its_own(
    cluster: FakeCluster, backend: KubernetesBackend, submission: Callable[..., Submission]
) -> None:
    handle = backend.submit(submission(nodes=1))
    backend.make_async_client = lambda: FakeLogClient(cluster)
    cluster.start_pod(W0)
    cluster.write_log(W0, b"before\n")
    (first,) = asyncio.run(backend.log_source(handle).snapshot()).pods
    assert backend.read_tails(handle, pods=1, max_bytes=100)[W0].endswith(" before\n")
    cluster.finish_pod(W0, 137)
    assert backend.read_tails(handle, pods=1, max_bytes=100) == {}
    cluster.start_pod(W0)
    cluster.write_log(W0, b"after\n")
    (second,) = asyncio.run(backend.log_source(handle).snapshot()).pods
    assert first.container.uid != second.container.uid
    assert second.earlier == ()
    assert backend.read_tails(handle, pods=1, max_bytes=100)[W0].endswith(" after\n")


def test_a_namesake_s_pods_are_not_shown_in_place_of_ours(
    cluster: FakeCluster, backend: KubernetesBackend, submission: Callable[..., Submission]
) -> None:
    handle = backend.submit(submission(nodes=1))
    backend.make_async_client = lambda: FakeLogClient(cluster)
    source = backend.log_source(handle)
    assert len(asyncio.run(source.snapshot()).pods) == 1
    backend.delete(handle)
    backend.submit(submission(nodes=1))
    after = asyncio.run(source.snapshot())
    assert (after.has_ended, after.pods) == (True, ())
