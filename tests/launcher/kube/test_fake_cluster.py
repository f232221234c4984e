from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from launcher.backends.base import Submission
from launcher.errors import LaunchError
from launcher.kube.errors import ConflictError, InvalidError
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS, PODS, Resource
from tests.fakes.admission import UnplayableError
from tests.fakes.cluster import FakeCluster

NewSubmission = Callable[..., Submission]
WatchEvent = Callable[[dict[str, Any]], Any]


def worker(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = job["spec"]["paddleReplicaSpecs"]["Worker"]
    return found


def container(job: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = worker(job)["template"]["spec"]["containers"][0]
    return found


REFUSED: dict[str, tuple[WatchEvent, str]] = {
    "another version": (lambda job: job.update(apiVersion="kubeflow.org/v2"), "does not match paddlejobs"),
    "another kind": (lambda job: job.update(kind="PyTorchJob"), "does not match paddlejobs"),
    "unknown field": (lambda job: job.update(specs={}), r'unknown field "specs"'),
    "unknown field in spec": (
        lambda job: job["spec"].update(runPolicies={}),
        r'unknown field "spec\.runPolicies"',
    ),
    "unknown field in container": (lambda job: container(job).update(enw=[]), r'containers\[0\]\.enw"'),
    "no replicas": (lambda job: worker(job).update(replicas=0), "expected at least 1"),
    "no container named paddle": (lambda job: container(job).update(name="main"), 'name "paddle"'),
    "no image": (lambda job: container(job).pop("image"), "image: Required value"),
    "a name with a dot": (lambda job: job["metadata"].update(name="a.b"), "DNS-1035"),
    "a name that begins with a digit": (lambda job: job["metadata"].update(name="1a"), "DNS-1035"),
    "a name in capitals": (lambda job: job["metadata"].update(name="A"), "RFC 1123"),
    "a long label": (lambda job: job["metadata"]["labels"].update(x="x" * 64), "valid label"),
    "a label that is no text": (lambda job: job["metadata"]["labels"].update(x=1), "cannot unmarshal"),
    "another namespace": (lambda job: job["metadata"].update(namespace="x"), "does not match the namespace"),
}
UNPLAYABLE: dict[str, WatchEvent] = {
    "a master": lambda job: job["spec"]["paddleReplicaSpecs"].update(Master=worker(job)),
    "another restart policy": lambda job: worker(job).update(restartPolicy="OnFailure"),
    "another clean-up": lambda job: job["spec"]["runPolicy"].update(cleanPodPolicy="All"),
    "an init container": lambda job: worker(job)["template"]["spec"].update(initContainers=[{}]),
}


@pytest.mark.parametrize(("change", "words"), REFUSED.values(), ids=REFUSED)
def test_a_bad_job_is_refused_in_the_server_s_words(
    cluster: FakeCluster, submission: NewSubmission, change: WatchEvent, words: str
) -> None:
    job = submission().manifest.job
    change(job)
    with pytest.raises(InvalidError, match=words):
        cluster.create(PADDLE_JOBS, job, namespace="ml")
    assert cluster.names("paddlejobs") == ()


@pytest.mark.parametrize("change", UNPLAYABLE.values(), ids=UNPLAYABLE)
def test_what_it_cannot_play_is_not_ignored(
    cluster: FakeCluster, submission: NewSubmission, change: WatchEvent
) -> None:
    job = submission().manifest.job
    change(job)
    with pytest.raises(UnplayableError):
        cluster.create(PADDLE_JOBS, job, namespace="ml")


@pytest.mark.parametrize("data", [{"a/b": ""}, {"a": 1}, {"a": "x" * (1 << 20), "b": "x"}],
                         ids=["key", "value", "size"])  # fmt: skip
def test_a_bad_config_map_is_refused(
    cluster: FakeCluster, submission: NewSubmission, data: dict[str, Any]
) -> None:
    with pytest.raises(InvalidError):
        cluster.create(CONFIG_MAPS, {**submission().manifest.config_map, "data": data}, namespace="ml")


@pytest.mark.parametrize("patch", [
    {"data": {"cfg.yaml": "x"}}, {"immutable": False}, {"metadata": {"name": "y"}},
], ids=["data", "immutable", "name"])  # fmt: skip
def test_what_cannot_change_does_not(
    cluster: FakeCluster, submission: NewSubmission, patch: dict[str, Any]
) -> None:
    cluster.create(CONFIG_MAPS, submission().manifest.config_map, namespace="ml")
    with pytest.raises(InvalidError, match="immutable"):
        cluster.patch(CONFIG_MAPS, "flowers-config", patch, namespace="ml")


def test_an_unknown_kind_is_not_played(cluster: FakeCluster) -> None:
    with pytest.raises(UnplayableError):
        cluster.get(Resource(plural="nodes", kind="Node"), "x", namespace="ml")


@pytest.mark.parametrize("labels", ["!a", "a notin (b)", "a in (b),c", "a!=b"])
def test_an_unknown_selector_is_not_played(
    cluster: FakeCluster, submission: NewSubmission, labels: str
) -> None:
    cluster.create(CONFIG_MAPS, submission().manifest.config_map, namespace="ml")
    with pytest.raises(UnplayableError):
        cluster.list(CONFIG_MAPS, namespace="ml", labels=labels)


def test_pods_are_made_as_the_operator_makes_them(cluster: FakeCluster, submission: NewSubmission) -> None:
    job = cluster.create(PADDLE_JOBS, submission().manifest.job, namespace="ml")
    assert cluster.names("pods") == cluster.names("services") == ("flowers-worker-0", "flowers-worker-1")
    pod = cluster.get(PODS, "flowers-worker-1", namespace="ml")
    assert pod["metadata"]["labels"] == {
        "ftlaunch.io/run-id": "0123456789abcdef" * 2,
        "training.kubeflow.org/job-name": "flowers",
        "training.kubeflow.org/operator-name": "paddlejob-controller",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": "1",
    }
    assert pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
    assert [(item["name"], item.get("value")) for item in pod["spec"]["containers"][0]["env"]] == [
        ("PADDLE_NNODES", "9"), ("PYTHONUNBUFFERED", "1"), ("PADDLE_JOB_ID", "flowers"),
        ("PADDLE_NNODES", "2"), ("PADDLE_MASTER", "flowers-worker-0:36543"),
    ]  # fmt: skip
    first = cluster.get(PODS, "flowers-worker-0", namespace="ml")["spec"]["containers"][0]["env"]
    assert first[-1] == {"name": "PADDLE_MASTER", "value": "$(POD_IP_DUMMY):36543"}


def test_a_deleted_pod_comes_back_under_its_name_with_another_uid(
    cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.create(PADDLE_JOBS, submission().manifest.job, namespace="ml")
    for pod in cluster.names("pods"):
        cluster.start_pod(pod)
    old = cluster.get(PODS, "flowers-worker-1", namespace="ml")["metadata"]["uid"]
    cluster.delete_pod("flowers-worker-1")
    assert "deletionTimestamp" in cluster.get(PODS, "flowers-worker-1", namespace="ml")["metadata"]
    cluster.finish_pod("flowers-worker-1", 143)
    new = cluster.get(PODS, "flowers-worker-1", namespace="ml")
    assert (new["metadata"]["uid"] != old, new["status"]["phase"]) == (True, "Pending")
    kinds = [
        item["type"] for item in cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["status"]["conditions"]
    ]
    assert kinds == ["Created", "Running"]


def test_a_failed_job_has_the_operator_s_faults(cluster: FakeCluster, submission: NewSubmission) -> None:
    cluster.create(PADDLE_JOBS, submission().manifest.job, namespace="ml")
    for pod in cluster.names("pods"):
        cluster.start_pod(pod)
    cluster.finish_pod("flowers-worker-0", 1)
    status = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["status"]
    assert "completionTime" not in status
    assert status["replicaStatuses"]["Worker"]["active"] == 2
    assert [(item["type"], item["status"]) for item in status["conditions"]] == [
        ("Created", "True"), ("Running", "False"), ("Failed", "True"),
    ]  # fmt: skip
    assert cluster.names("pods") == ("flowers-worker-0", "flowers-worker-1")


def test_objects_go_when_their_owner_is_no_more(cluster: FakeCluster, submission: NewSubmission) -> None:
    orphan = submission().manifest.config_map
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "none"}
    orphan["metadata"]["ownerReferences"] = [owner]
    cluster.create(CONFIG_MAPS, orphan, namespace="ml")
    assert cluster.names("configmaps") == ()


def test_deleting_another_object_of_the_name_is_a_conflict(
    cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.create(PADDLE_JOBS, submission().manifest.job, namespace="ml")
    with pytest.raises(ConflictError):
        cluster.delete(PADDLE_JOBS, "flowers", namespace="ml", uid="another")
    assert cluster.names("paddlejobs") == ("flowers",)


def test_a_change_makes_a_new_version_and_no_change_does_not(
    cluster: FakeCluster, submission: NewSubmission
) -> None:
    made = cluster.create(CONFIG_MAPS, submission().manifest.config_map, namespace="ml")
    same = cluster.patch(CONFIG_MAPS, "flowers-config", {"immutable": True}, namespace="ml")
    other = cluster.patch(CONFIG_MAPS, "flowers-config", {"metadata": {"labels": {"a": "b"}}}, namespace="ml")
    versions = [item["metadata"]["resourceVersion"] for item in (made, same, other)]
    assert (versions[0] == versions[1], versions[1] == versions[2]) == (True, False)


def test_what_it_hands_out_is_a_copy(cluster: FakeCluster, submission: NewSubmission) -> None:
    sent = submission().manifest.config_map
    made = cluster.create(CONFIG_MAPS, sent, namespace="ml")
    made["data"]["cfg.yaml"] = sent["data"]["cfg.yaml"] = "changed"
    assert cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["data"]["cfg.yaml"] == "Global: {}\n"


def test_a_container_that_has_not_started_has_no_log(cluster: FakeCluster, submission: NewSubmission) -> None:
    cluster.create(PADDLE_JOBS, submission().manifest.job, namespace="ml")
    with pytest.raises(InvalidError, match="is waiting to start"):
        cluster.read_pod_log("flowers-worker-0", namespace="ml", container="paddle")
    cluster.start_pod("flowers-worker-0")
    for query in ({"container": "main"}, {"container": "paddle", "previous": True}):
        with pytest.raises(LaunchError):
            cluster.read_pod_log("flowers-worker-0", namespace="ml", **query)  # type: ignore[arg-type]
