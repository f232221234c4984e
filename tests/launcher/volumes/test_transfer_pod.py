"""Pods that mount a volume while files pass, over a small API that keeps what it is given."""

from __future__ import annotations

import copy
import time
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from launcher.backends.kubernetes import transfer_pod
from launcher.errors import CliExit, UsageError
from launcher.kinds.registry import PADDLE_JOB
from launcher.kube.errors import AbsentError, DeniedError
from launcher.kube.remarks import tell_to
from launcher.objects import CLAIMS, EVENTS, PODS
from launcher.times import format_unix_time
from launcher.volumes import agent
from launcher.volumes.place import Folder, VolumeError
from launcher.volumes.transfer import compare, describe

REPOSITORY = Path(__file__).parents[3]
RUN_AS = {"user": 7, "group": 8, "fs_group": 9}
RESTRICTED = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip


def claim(name: str, *, phase: str = "Bound", **more: str) -> dict:
    return {"metadata": {"name": name, **more}, "status": {"phase": phase}}


class Pods:
    """Keeps pods; each runs after a look or two, unless `status` says otherwise."""

    def __init__(self) -> None:
        self.kept: dict[str, dict] = {}
        self.looks = 0
        self.status: dict | None = None
        self.on_delete: Exception | None = None
        self.claims: list[dict] | Exception = [claim("data"), claim("runs")]
        self.events: list[dict] = []

    def create(self, resource, body, *, namespace, dry_run=False):
        assert (resource, dry_run) == (PODS, False)
        made = copy.deepcopy(body)
        made["metadata"] |= {"uid": f"uid-{len(self.kept)}", "namespace": namespace}
        made["metadata"] |= {"creationTimestamp": format_unix_time(time.time())}
        made["status"] = {"phase": "Pending"}
        self.kept[made["metadata"]["name"]] = made
        return made

    def get(self, resource, name, *, namespace):
        if name not in self.kept:
            raise AbsentError(name)
        self.looks += 1
        self.kept[name]["status"] = self.status or {"phase": "Running" if self.looks > 2 else "Pending"}
        return self.kept[name]

    def list(self, resource, *, namespace, labels="", fields=""):
        if resource == CLAIMS:
            if isinstance(self.claims, Exception):
                raise self.claims
            return tuple(self.claims)
        if resource == EVENTS:
            assert fields == "involvedObject.uid=uid-0"
            return tuple(self.events)
        wanted = dict(part.split("=") for part in labels.split(","))
        return tuple(pod for pod in self.kept.values() if wanted.items() <= pod["metadata"]["labels"].items())

    def delete(self, resource, name, *, namespace, uid):
        assert self.kept.pop(name)["metadata"]["uid"] == uid
        if self.on_delete:
            raise self.on_delete


class Programs:
    """Runs a pod's program here, with a folder of this machine for its volume."""

    def __init__(self, pods: Pods, folder) -> None:
        self.pods, self.folder, self.ran = pods, folder, []

    @contextmanager
    def run_in_pod(self, pod, argv, *, namespace, container):
        assert pod in self.pods.kept or pod == "flowers-worker-0"
        self.ran.append((pod, container))
        mapped = [
            part.replace("/volume", str(self.folder)) if part.startswith("/volume") else part for part in argv
        ]
        with Folder(self.folder).start(mapped) as channel:
            yield channel


def test_a_claims_reader_passes_the_restricted_level_and_ends_by_itself():
    pod = transfer_pod.pod_for_claim("my.data", image="python:3", run_as=RUN_AS, read_only=True)
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["containers"][0]["securityContext"] == RESTRICTED
    assert spec["automountServiceAccountToken"] is False
    assert spec["activeDeadlineSeconds"] == transfer_pod.LIFETIME_S
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "my.data", "readOnly": True}
    assert pod["metadata"]["name"].startswith("my-data-files-")


def job() -> dict:
    volumes = [
        {"name": "config", "configMap": {"name": "flowers-config"}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "volume-0", "persistentVolumeClaim": {"claimName": "runs"}},
        {"name": "secret-0", "secret": {"secretName": "key"}},
    ]  # fmt: skip
    mounts = [{"name": volume["name"], "mountPath": f"/{volume['name']}"} for volume in volumes]
    container = {
        "name": "paddle", "image": "trainer:1", "imagePullPolicy": "Never", "volumeMounts": mounts,
        "env": [{"name": "PASSED", "value": "x"}], "resources": {"limits": {"nvidia.com/gpu": 8}},
    }  # fmt: skip
    spec = {
        "containers": [container], "volumes": volumes, "nodeSelector": {"zone": "a"},
        "securityContext": {"runAsUser": 7}, "tolerations": [{"key": "gpu"}],
    }  # fmt: skip
    return {
        "metadata": {"name": "flowers", "uid": "j"},
        "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": 1, "template": {"spec": spec}}}},
    }


def test_a_jobs_reader_mounts_its_volumes_for_reading_and_takes_no_gpu_no_secret_no_variable():
    spec = transfer_pod.pod_for_job(job())["spec"]
    (container,) = spec["containers"]
    assert container["volumeMounts"] == [{"name": "volume-0", "mountPath": "/volume-0", "readOnly": True}]
    assert [volume["name"] for volume in spec["volumes"]] == ["volume-0"]
    assert (container["image"], container["imagePullPolicy"]) == ("trainer:1", "Never")
    assert "env" not in container
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    assert (spec["nodeSelector"], spec["tolerations"]) == ({"zone": "a"}, [{"key": "gpu"}])


def test_a_reader_lives_as_long_as_files_pass(tmp_path):
    pods = Pods()
    programs = Programs(pods, tmp_path)
    (tmp_path / "a").write_text("a")
    opened = transfer_pod.open_claim(
        pods, programs, "data", "", namespace="ml", image="python:3", run_as=RUN_AS, read_only=True
    )
    with opened as place:
        assert compare(place, describe(tmp_path)) == []
        assert len(pods.kept) == 1
    assert pods.kept == {}
    assert programs.ran[0][1] == transfer_pod.CONTAINER


def test_a_running_job_is_reached_through_its_first_pod(tmp_path):
    pods = Pods()
    running = {"containerStatuses": [{"name": "paddle", "state": {"running": {}}}]}
    first = {"metadata": {"name": "flowers-worker-0"}, "spec": {}, "status": running}
    programs = Programs(pods, tmp_path)
    with transfer_pod.open_of_job(
        pods, programs, namespace="ml", pods=[first], job=job(), beside=(), kind=PADDLE_JOB, path="/volume"
    ) as place:
        assert list(place.lines("walk", {"under": ""})) == []
    assert programs.ran == [("flowers-worker-0", "paddle")]
    assert pods.looks == 0


@pytest.mark.parametrize(("status", "said"), [
    ({"phase": "Failed", "reason": "Evicted"}, "Failed (Evicted)"),
    ({"phase": "Pending", "containerStatuses": [
        {"name": "reader", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}]},
     "Pending (ErrImagePull: no such image)"),
    ({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "claim unbound"}]},
     "Pending (Unschedulable: claim unbound)"),
])  # fmt: skip
def test_a_reader_that_does_not_start_is_deleted_and_says_why(status, said):
    pods, pauses = Pods(), []
    pods.status = status
    pod = transfer_pod.pod_for_claim("data", image="python:3", run_as=RUN_AS, read_only=True)
    with (
        pytest.raises(VolumeError) as caught,
        transfer_pod.running(pods, pod, namespace="ml", pause=pauses.append),
    ):
        raise AssertionError("it does not run")
    assert said in str(caught.value)
    assert pods.kept == {}
    assert sum(pauses) in (0, transfer_pod.START_S)


def test_it_is_deleted_whatever_happens_and_a_silent_cluster_hides_no_error():
    pods = Pods()
    pods.on_delete = DeniedError("no")
    pod = transfer_pod.pod_for_claim("data", image="python:3", run_as=RUN_AS, read_only=True)
    with (
        pytest.raises(KeyboardInterrupt),
        transfer_pod.running(pods, pod, namespace="ml", pause=lambda _: None),
    ):
        raise KeyboardInterrupt
    assert pods.kept == {}


def test_readers_that_the_cluster_has_ended_are_swept():
    pods = Pods()
    for phase in ("Failed", "Succeeded", "Running"):
        left = transfer_pod.pod_for_claim(phase.lower(), image="python:3", run_as=RUN_AS, read_only=True)
        pods.create(PODS, left, namespace="ml")["status"] = {"phase": phase}
    pod = transfer_pod.pod_for_claim("data", image="python:3", run_as=RUN_AS, read_only=True)
    with transfer_pod.running(pods, pod, namespace="ml", pause=lambda _: None):
        assert [name.partition("-")[0] for name in pods.kept] == ["running", "data"]


def test_a_reader_that_never_began_is_deleted_by_the_next_one():
    pods = Pods()
    for name, age_s in (("old", transfer_pod.ABANDONED_S + 60), ("new", transfer_pod.START_S)):
        left = transfer_pod.pod_for_claim(name, image="python:3", run_as=RUN_AS, read_only=True)
        made = pods.create(PODS, left, namespace="ml")
        made["metadata"]["creationTimestamp"] = format_unix_time(time.time() - age_s)
    pod = transfer_pod.pod_for_claim("data", image="python:3", run_as=RUN_AS, read_only=True)
    with transfer_pod.running(pods, pod, namespace="ml", pause=lambda _: None):
        assert [name.partition("-")[0] for name in pods.kept] == ["new", "data"]


@pytest.mark.parametrize(("claims", "said"), [
    ([claim("data"), claim("runs")], "which has data, runs, got none of this name; did you mean 'data'?"),
    ([], "which has none, got none of this name"),
    ([claim("date", phase="Lost")], "expected one that can be mounted, got one whose volume is gone"),
    ([claim("date", deletionTimestamp="2026-01-01T00:00:00Z")], "got one that is being deleted"),
])  # fmt: skip
def test_a_claim_that_cannot_be_mounted_is_refused_before_a_pod_is_made(claims, said):
    pods = Pods()
    pods.claims = claims
    pod = transfer_pod.pod_for_claim("date", image="python:3", run_as=RUN_AS, read_only=True)
    with pytest.raises(UsageError) as caught, transfer_pod.running(pods, pod, namespace="ml"):
        raise AssertionError("it does not run")
    assert str(caught.value).startswith("claim 'date': ")
    assert said in str(caught.value)
    assert (pods.kept, caught.value.exit_code) == ({}, CliExit.USAGE)


def test_who_may_not_list_claims_reaches_them_all_the_same():
    pods = Pods()
    pods.claims = DeniedError("claims are forbidden")
    pod = transfer_pod.pod_for_claim("date", image="python:3", run_as=RUN_AS, read_only=True)
    with transfer_pod.running(pods, pod, namespace="ml", pause=lambda _: None) as name:
        assert name in pods.kept


@pytest.fixture
def remarks():
    said = []
    tell_to(said.append)
    yield said
    tell_to(None)


def test_what_a_reader_waits_for_is_said_once_and_again_when_it_changes(remarks):
    pods = Pods()
    pods.status = {"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "claim unbound"}
    ]}  # fmt: skip
    waited = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        if sum(waited) == 4:
            assert remarks == []
        if sum(waited) == 20:
            pods.status = {"phase": "Pending"}
            pods.events = [
                {"involvedObject": {}, "metadata": {}, "type": "Warning", "reason": "FailedMount",
                 "message": "mount.nfs: access\ndenied", "lastTimestamp": "2026-01-01T00:00:00Z"}
            ]  # fmt: skip
        if sum(waited) == 40:
            pods.status = {"phase": "Running"}

    pod = transfer_pod.pod_for_claim("data", image="python:3", run_as=RUN_AS, read_only=True)
    with transfer_pod.running(pods, pod, namespace="ml", pause=pause) as name:
        assert remarks == [
            f"waiting for pod ml/{name}: Unschedulable: claim unbound",
            f"waiting for pod ml/{name}: FailedMount: mount.nfs: access denied",
        ]


@pytest.mark.parametrize(("code", "fix"), [
    (agent.EXIT_DENIED, "belong to user 7, or to group 8 (`chgrp 8` and `chmod 2775`), or pass --user"),
    (agent.EXIT_FULL, "enlarge the claim"),
    (agent.EXIT_READ_ONLY, "access mode"),
], ids=["denied", "full", "read-only"])  # fmt: skip
def test_what_the_volume_refuses_comes_with_what_to_do(code, fix):
    pods = Pods()

    class Refused:
        stdout = BytesIO(b'{"ready": true}\n')

        def send(self, data):
            del data

        def finish(self):
            return code, "/volume: no\n"

    class Refusing:
        @contextmanager
        def run_in_pod(self, *_, **__):
            yield Refused()

    opened = transfer_pod.open_claim(
        pods, Refusing(), "data", "", namespace="ml", image="python:3", run_as=RUN_AS, read_only=False
    )
    with pytest.raises(VolumeError) as caught, opened as place:
        compare(place, [])
    assert str(caught.value).startswith("data: /volume: no; ")
    assert fix in str(caught.value)


def test_the_optional_network_policy_chooses_the_readers_and_allows_them_nothing():
    policy = yaml.safe_load((REPOSITORY / "k8s/network/volume-readers.yaml").read_text())
    assert policy["spec"] == {
        "podSelector": {"matchLabels": transfer_pod.LABELS}, "policyTypes": ["Ingress", "Egress"]
    }  # fmt: skip
    made = transfer_pod.pod_for_claim("runs", image="python:3", run_as=RUN_AS, read_only=True)
    assert transfer_pod.LABELS.items() <= made["metadata"]["labels"].items()


def test_the_optional_network_policy_leaves_training_pods_alone(make_plan):
    labels = make_plan().labels
    assert not transfer_pod.LABELS.items() <= labels.items()
