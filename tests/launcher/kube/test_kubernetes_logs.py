from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.restarts import Incarnation, Incarnations
from launcher.backends.states import LogRef
from launcher.kube.podlog import to_kubelet_form
from launcher.plan.handle import Handle
from tests.fakes.cluster import FakeCluster

NewSubmission = Callable[..., Submission]
W0 = "flowers-worker-0"
FIRST = LogRef(node=0, incarnation=0, pod=W0)
SECOND = LogRef(node=0, incarnation=1, pod=W0)


@pytest.fixture
def handle(backend: KubernetesBackend, submission: NewSubmission) -> Handle:
    return backend.submit(submission(nodes=1))


def texts(log: bytes) -> list[bytes]:
    """Return the lines' texts, after checking their form."""
    lines = log.split(b"\n")
    for line in lines[:-1]:
        stamp, stream, full, _ = line.split(b" ", 3)
        assert (stamp[-1:], stream, full) == (b"Z", b"stdout", b"F")
    return [line.split(b" ", 3)[3] for line in lines if line]


def test_a_pod_has_a_log_once_it_has_started(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    assert backend.list_logs(handle) == ()
    assert backend.read_log(handle, FIRST, offset=0) == b""
    cluster.start_pod(W0)
    assert backend.list_logs(handle) == (FIRST,)


def test_only_whole_lines_are_given_until_the_container_ends(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.start_pod(W0)
    cluster.write_log(W0, b"[a1 r0] one\r two\n[a1 r0] ha")
    log = backend.read_log(handle, FIRST, offset=0)
    assert log.endswith(b"\n")
    assert texts(log) == [b"[a1 r0] one\r two"]
    cluster.finish_pod(W0, 0)
    rest = backend.read_log(handle, FIRST, offset=len(log))
    assert texts(log + rest)[1:] == [b"[a1 r0] ha"]


def test_reading_on_gives_each_byte_once(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.start_pod(W0)
    log = b""
    for index in range(5):
        cluster.write_log(W0, b"line %d\n" % index * index)
        log += backend.read_log(handle, FIRST, offset=len(log))
    assert log == backend.read_log(handle, FIRST, offset=0)
    assert len(texts(log)) == 10
    assert backend.read_log(handle, FIRST, offset=len(log)) == b""


def test_a_recreated_pod_has_a_log_of_its_own(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.start_pod(W0)
    cluster.write_log(W0, b"before\n")
    assert texts(backend.read_log(handle, FIRST, offset=0)) == [b"before"]
    cluster.finish_pod(W0, 137)
    assert backend.list_logs(handle) == ()
    cluster.start_pod(W0)
    cluster.write_log(W0, b"after\n")
    assert backend.list_logs(handle) == (SECOND,)
    assert backend.read_log(handle, FIRST, offset=0) == b""
    assert texts(backend.read_log(handle, SECOND, offset=0)) == [b"after"]


def test_a_log_read_while_its_pod_is_replaced_is_thrown_away(
    cluster: FakeCluster, backend: KubernetesBackend, handle: Handle
) -> None:
    class Replacing:
        """Reads after the pod has been replaced behind the reader's back."""

        def read_pod_log(self, pod: str, **query: Any) -> bytes:
            cluster.finish_pod(W0, 143)
            cluster.start_pod(W0)
            cluster.write_log(W0, b"the new pod's\n")
            return cluster.read_pod_log(pod, **query)

    cluster.start_pod(W0)
    unlucky = KubernetesBackend(cluster, Replacing(), namespace="ml")
    assert unlucky.read_log(handle, FIRST, offset=0) == b""
    assert unlucky.list_logs(handle) == (SECOND,)


def test_a_pod_that_is_gone_has_nothing_to_read(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.start_pod(W0)
    backend.cancel(handle)
    cluster.finish_pod(W0, 143)
    assert backend.list_logs(handle) == ()
    assert backend.read_log(handle, FIRST, offset=0) == b""


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
    seen = Incarnations()
    numbers = [
        seen.look(JOB, item).number
        for item in (
            pod("a", restarts=0, state="running"), pod("a", restarts=2, state="running"),
            pod("b", restarts=0, state="waiting"), pod("b", restarts=1, state="running"),
            pod("c", restarts=0, state="terminated"),
        )
    ]  # fmt: skip
    assert numbers == [0, 2, 3, 4, 5]


@pytest.mark.parametrize(("item", "has_previous", "has_started", "has_ended"), [
    (pod("a", restarts=0, state="waiting"), False, False, False),
    (pod("a", restarts=0, state="running"), False, True, False),
    (pod("a", restarts=1, state="running", last="terminated"), True, True, False),
    (pod("a", restarts=1, state="waiting", last="terminated"), True, True, True),
    (pod("a", restarts=0, state="terminated"), False, True, True),
], ids=["creating", "running", "restarted", "about to restart", "ended"])  # fmt: skip
def test_a_container_says_what_logs_it_has(
    item: dict[str, Any], has_previous: bool, has_started: bool, has_ended: bool
) -> None:
    look = Incarnations().look(JOB, item)
    assert look == Incarnation(
        uid="a", number=look.number, has_previous=has_previous, has_started=has_started, has_ended=has_ended
    )


@pytest.mark.parametrize(("log", "kubelet_form"), [
    (b"", b""),
    (b"2026-11-24T00:00:00.1Z \n", b"2026-11-24T00:00:00.1Z stdout F \n"),
    (b"2026-11-24T00:00:00Z a b\n", b"2026-11-24T00:00:00Z stdout F a b\n"),
    (b"2026-11-24T00:00:00.1+08:00 \xff\r\n", b"2026-11-24T00:00:00.1+08:00 stdout F \xff\r\n"),
    (b"unable to retrieve container logs for x\n", b""),
    (b"2026-11-24T00:00:00Z half", b""),
], ids=["nothing", "empty line", "words", "bytes and a zone", "kubelet's own", "half a line"])  # fmt: skip
def test_the_api_s_form_becomes_the_kubelet_s(log: bytes, kubelet_form: bytes) -> None:
    assert to_kubelet_form(log, complete=False) == kubelet_form


def test_a_complete_log_keeps_its_half_line() -> None:
    assert (
        to_kubelet_form(b"2026-11-24T00:00:00Z half", complete=True) == b"2026-11-24T00:00:00Z stdout F half"
    )
