"""A manifest's pods, held against the operator of `tests.fakes`, which behaves as v1.9.3 was seen to."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from launcher.backends.podspec import Source
from launcher.backends.replicas import ReplicaError, expand
from launcher.kinds.registry import PADDLE_JOB
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS, PODS
from launcher.render.manifest import Manifest, parse_manifest
from tests.contract.harness import RUN_ID, manifest_text
from tests.fakes.cluster import FakeCluster


def documents(*, nodes: int = 2) -> tuple[dict[str, Any], dict[str, Any]]:
    text = manifest_text(name="flowers", run_id=RUN_ID, nodes=nodes, command=["python", "-m", "trainer.node"])
    config_map, job = yaml.safe_load_all(text)
    return config_map, job


def build(config_map: dict[str, Any], job: dict[str, Any]) -> Manifest:
    return parse_manifest(yaml.safe_dump_all([config_map, job]))


def pod_spec(job: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]
    return spec


def env_of(job: dict[str, Any], env: list[dict[str, Any]], *, node: int = 0) -> dict[str, str]:
    config_map, _ = documents()
    pod_spec(job)["containers"][0]["env"] = env
    return dict(expand(build(config_map, job), pod_ip="10.0.0.7")[node].env)


def test_pods_are_those_that_the_operator_makes():
    config_map, job = documents()
    pod_spec(job)["containers"][0]["env"] = [
        {"name": "PADDLE_NNODES", "value": "9"},
        {"name": "A", "value": "b"},
    ]
    manifest = build(copy.deepcopy(config_map), copy.deepcopy(job))
    cluster = FakeCluster(namespace="ml")
    cluster.create(CONFIG_MAPS, config_map, namespace="ml")
    cluster.create(PADDLE_JOBS, job, namespace="ml")
    made = sorted(
        cluster.list(PODS, namespace="ml", labels="training.kubeflow.org/job-name=flowers"),
        key=lambda pod: str(pod["metadata"]["name"]),
    )
    for pod, theirs in zip(expand(manifest, pod_ip="10.0.0.7"), made, strict=True):
        listed = {}
        for item in theirs["spec"]["containers"][0]["env"]:
            listed[item["name"]] = item.get("value", "10.0.0.7").replace("$(POD_IP_DUMMY)", "10.0.0.7")
        assert pod.name == theirs["metadata"]["name"]
        assert pod.labels == theirs["metadata"]["labels"]
        assert dict(pod.env) == listed


def test_worker_0_is_told_its_own_address_and_the_others_its_name():
    pods = expand(build(*documents()), pod_ip="10.0.0.7")
    assert [pod.env["PADDLE_MASTER"] for pod in pods] == ["10.0.0.7:36543", "flowers-worker-0:36543"]


def test_the_port_named_master_is_the_stores():
    config_map, job = documents()
    pod_spec(job)["containers"][0]["ports"] = [{"name": "master", "containerPort": 4000}]
    assert expand(build(config_map, job))[1].env["PADDLE_MASTER"] == "flowers-worker-0:4000"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "flowers-worker-1"),
        ("metadata.namespace", "default"),
        ("metadata.labels['training.kubeflow.org/replica-index']", "1"),
        ("metadata.labels['missing']", ""),
        ("status.podIP", "10.0.0.7"),
    ],
)
def test_fields_of_the_pod_are_resolved(path, value):
    env = env_of(documents()[1], [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": path}}}], node=1)
    assert env["X"] == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(A)b", "1b"),
        ("$$(A)", "$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$A", "$A"),
        ("50%$", "50%$"),
        ("$(A", "$(A"),
    ],
)
def test_references_are_replaced_as_the_kubelet_does(text, value):
    assert env_of(documents()[1], [{"name": "A", "value": "1"}, {"name": "X", "value": text}])["X"] == value


def test_references_in_the_command_are_replaced():
    config_map, job = documents()
    container = pod_spec(job)["containers"][0]
    container["args"] = ["--job", "$(PADDLE_JOB_ID)"]
    assert expand(build(config_map, job))[0].command[-2:] == ("--job", "flowers")


def test_mounts_say_where_their_content_comes_from():
    config_map, job = documents()
    volumes = {
        "config": {"configMap": {"name": "flowers-config"}}, "tmp": {"emptyDir": {}},
        "shm": {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        "data": {"persistentVolumeClaim": {"claimName": "digits"}},
        "key": {"secret": {"secretName": "k", "items": [{"key": "token", "path": "wandb"}]}},
    }  # fmt: skip
    pod_spec(job)["volumes"] = [{"name": name, **source} for name, source in volumes.items()]
    pod_spec(job)["containers"][0]["volumeMounts"] = [
        {"name": "config", "mountPath": "/etc/ftlaunch"}, {"name": "tmp", "mountPath": "/tmp"},
        {"name": "shm", "mountPath": "/dev/shm"}, {"name": "data", "mountPath": "/data", "readOnly": True},
        {"name": "key", "mountPath": "/secrets/wandb", "subPath": "wandb"},
    ]  # fmt: skip
    mounts = {mount.path: mount for mount in expand(build(config_map, job))[0].mounts}
    assert {path: mount.source for path, mount in mounts.items()} == {
        "/etc/ftlaunch": Source.FILES, "/tmp": Source.EMPTY, "/dev/shm": Source.MEMORY,
        "/data": Source.OUTSIDE, "/secrets/wandb": Source.OUTSIDE,
    }  # fmt: skip
    assert mounts["/etc/ftlaunch"].files == {"cfg.yaml": b"Global: {}\n"}
    assert mounts["/data"].read_only


def test_gpus_are_the_extended_resources_of_the_limits():
    config_map, job = documents()
    limits = {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": 2}
    pod_spec(job)["containers"][0]["resources"] = {"limits": limits, "requests": limits}
    assert [pod.gpus for pod in expand(build(config_map, job))] == [2, 2]


def from_field(path: str) -> list[dict[str, Any]]:
    return [{"name": "K", "valueFrom": {"fieldRef": {"fieldPath": path}}}]


HOSTILE: dict[str, tuple[list[str | int], Any]] = {
    "initContainers": (["initContainers"], [{"name": "init"}]),
    "hostNetwork": (["hostNetwork"], True),
    "livenessProbe": (["containers", 0, "livenessProbe"], {"exec": {}}),
    "envFrom": (["containers", 0, "envFrom"], [{"secretRef": {"name": "x"}}]),
    "lifecycle": (["containers", 0, "lifecycle"], {}),
    "secretKeyRef": (["containers", 0, "env"], [{"name": "K", "valueFrom": {"secretKeyRef": {"name": "x"}}}]),
    "spec.nodeName": (["containers", 0, "env"], from_field("spec.nodeName")),
    "projected": (["volumes"], [{"name": "v", "projected": {}}]),
    "mountPropagation": (
        ["containers", 0, "volumeMounts"], [{"name": "v", "mountPath": "/v", "mountPropagation": "None"}]
    ),
    "command": (["containers", 0, "command"], []),
}  # fmt: skip


@pytest.mark.parametrize("word", list(HOSTILE))
def test_what_cannot_be_played_is_refused_by_name(word):
    config_map, job = documents()
    path, value = HOSTILE[word]
    here: Any = pod_spec(job)
    for key in path[:-1]:
        here = here[key]
    here[path[-1]] = value
    if word == "projected":
        pod_spec(job)["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
    with pytest.raises(ReplicaError, match=word.replace(".", r"\.")):
        expand(build(config_map, job))


@pytest.mark.parametrize(
    "change",
    [
        {"restartPolicy": "OnFailure"},
        {"replicas": 0},
    ],
    ids=str,
)
def test_other_restart_policies_and_sizes_are_refused(change):
    config_map, job = documents()
    job["spec"]["paddleReplicaSpecs"]["Worker"] |= change
    with pytest.raises(ReplicaError, match=next(iter(change))):
        expand(build(config_map, job))


def test_everything_that_cannot_be_played_is_said_at_once():
    config_map, job = documents()
    job["spec"]["runPolicy"]["backoffLimit"] = 3
    pod_spec(job)["hostIPC"] = True
    with pytest.raises(ReplicaError) as refusal:
        expand(build(config_map, job))
    assert "backoffLimit" in str(refusal.value)
    assert "hostIPC" in str(refusal.value)


@pytest.mark.parametrize(
    ("code", "retried"), [(0, False), (1, False), (127, False), (128, True), (143, True)]
)
def test_from_128_on_a_pod_is_made_again(code, retried):
    assert PADDLE_JOB.is_retried(code) is retried
