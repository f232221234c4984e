"""From a field that a cluster refuses back to the key of the config that it was made from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.config.flags import Flags
from launcher.config.load import RunConfig
from launcher.kube.errors import InvalidError
from launcher.kube.failures import RequestContext, read_failure
from launcher.objects import PADDLE_JOBS
from launcher.plan.error_source import find_key, to_problem
from launcher.plan.plan import plan
from launcher.render.render import render
from tests.launcher.configs import RUN_ID
from trainer.config.problems import format_path

POD = "spec.paddleReplicaSpecs.Worker.template.spec"
MAIN = f"{POD}.containers[0]"
LAUNCH = {
    "resources": {"cpu": 4, "memory": "8Gi"}, "priority_class": "high", "service_account": "trainer",
    "labels": {"team/name": "x"}, "env": {"NCCL_DEBUG": "WARN", "MINE": "1"}, "keep_finished": "7d",
    "node_selector": {"disk": "ssd"}, "tolerations": [{"key": "a"}, {"key": "b"}],
    "secrets": [{"name": "wandb", "key": "token", "mount": "/secrets/w"}],
    "image_pull_secrets": ["pull"], "queue": {"volcano": "team-a"}, "topology_key": "rack",
    "weights": {"claim": "weights", "path": "/weights"},
    "pod_patch": {
        "spec": {"runtimeClassName": "nvidia", "containers": [{"name": "paddle", "stdin": True}]},
    },
}  # fmt: skip


@pytest.fixture
def config(load: Callable[..., RunConfig]) -> RunConfig:
    return load(launch=LAUNCH)


@pytest.mark.parametrize(("field", "key"), [
    ("metadata.name", "Launch.name"),
    ("metadata.labels", "Launch.labels"),
    ("metadata.labels[team/name]", "Launch.labels.team/name"),
    ("spec.runPolicy.ttlSecondsAfterFinished", "Launch.keep_finished"),
    ("spec.runPolicy.schedulingPolicy.queue", "Launch.queue.volcano"),
    ("spec.runPolicy.schedulingPolicy.priorityClass", "Launch.priority_class"),
    ("spec.paddleReplicaSpecs[Worker].replicas", "Launch.nodes"),
    (f"{MAIN}.image", "Launch.image"),
    ("spec.paddleReplicaSpecs[Worker].template.spec.containers[0].image", "Launch.image"),
    (f"{MAIN}.imagePullPolicy", "Launch.image_pull_policy"),
    (f"{MAIN}.resources.limits.memory", "Launch.resources.memory"),
    (f"{MAIN}.resources.requests[cpu]", "Launch.resources.cpu"),
    (f"{MAIN}.resources.limits[nvidia.com/gpu]", "Launch.gpus"),
    (f"{MAIN}.resources.limits.nvidia.com/gpu", "Launch.gpus"),
    (f"{MAIN}.env[4].value", "Launch.env.MINE"),
    (f"{MAIN}.env[0]", None),
    (f"{MAIN}.volumeMounts[5].mountPath", "Launch.volumes.0.mount"),
    (f"{POD}.volumes[6].persistentVolumeClaim.claimName", "Launch.volumes.1.claim"),
    (f"{POD}.volumes[4].emptyDir.sizeLimit", "Launch.resources.shm"),
    (f"{POD}.volumes[7].persistentVolumeClaim", "Launch.weights.claim"),
    (f"{POD}.volumes[8].secret.secretName", "Launch.secrets.0.name"),
    (f"{POD}.volumes[0]", None),
    (f"{POD}.nodeSelector", "Launch.node_selector"),
    (f"{POD}.tolerations[2].key", "Launch.tolerations.1"),
    (f"{POD}.tolerations[0]", None),
    (f"{POD}.affinity.podAffinity", "Launch.topology_key"),
    (f"{POD}.securityContext.runAsUser", "Launch.run_as.user"),
    (f"{POD}.terminationGracePeriodSeconds", "Launch.grace_period"),
    (f"{POD}.imagePullSecrets[0].name", "Launch.image_pull_secrets"),
    (f"{POD}.runtimeClassName", "Launch.pod_patch.spec.runtimeClassName"),
    (f"{MAIN}.stdin", "Launch.pod_patch.spec.containers.0.stdin"),
    (f"{MAIN}.command", None),
    ("spec", None),
    ("", None),
])  # fmt: skip
def test_a_field_is_traced_back_to_its_key(config: RunConfig, field: str, key: str | None) -> None:
    job = render(plan(config, run_id=RUN_ID, on="kubernetes")).job
    found = find_key(field, job, config)
    assert (None if found is None else format_path(found)) == key


def test_the_place_is_that_of_the_longest_part_that_was_written(config: RunConfig) -> None:
    text = config.content.decode().splitlines()
    problem = to_problem("f", "m", key=("Launch", "resources", "memory"), config=config)
    assert problem.line is not None
    assert text[problem.line - 1].strip() == "memory: 8Gi"
    whole = to_problem("f", "m", key=("Launch", "resources", "shm"), config=config)
    assert whole.line == problem.line - 1  # only the section was written
    assert str(problem) == f"cfg.yaml:{problem.line}:{problem.column}: Launch.resources.memory: f: m"


def test_what_a_flag_said_is_blamed_on_the_flag(load: Callable[..., RunConfig]) -> None:
    config = load(flags=Flags(image="no"))
    problem = to_problem("f", "m", key=("Launch", "image"), config=config)
    assert str(problem) == "--image: Launch.image: f: m"


def test_what_comes_from_nowhere_names_the_file_alone(config: RunConfig) -> None:
    assert str(to_problem("spec.x", "m", key=None, config=config)) == "cfg.yaml: spec.x: m"


REFUSALS = json.loads((Path(__file__).parent / "refusals.json").read_text())
"""What Kubernetes 1.34.7 with training operator v1.9.3 answers to jobs with one wrong value each."""
REFUSED = {
    "a time to live beyond 32 bits": "Launch.keep_finished",
    "a label that is none": "Launch.labels",
    "annotations too long": "Launch.annotations",
    "a priority beyond 32 bits": "Launch.pod_patch.spec.priority",
    "a cpu that is none": "Launch.resources.cpu",
    "a memory that is none": "Launch.resources.memory",
    "a port that is none": None,
    "no image": "Launch.image",
    "an unknown field": None,
    "a mount that is none": None,
    "a toleration that is none": None,
    "replicas beyond 32 bits": "Launch.nodes",
    "a selector that is none": "Launch.node_selector",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_a_real_server_answers_is_traced_back(load: Callable[..., RunConfig], name: str) -> None:
    launch = {**LAUNCH, "annotations": {"note": "x"}, "pod_patch": {"spec": {"priority": 5}}}
    config = load(launch=launch)
    job = render(plan(config, run_id=RUN_ID, on="kubernetes")).job
    answer = REFUSALS[name]
    call = RequestContext(
        verb="create", resource=PADDLE_JOBS, namespace="ml", name="flowers", access="context 'x'"
    )
    error = read_failure(call, code=answer["code"], body=json.dumps(answer).encode())
    assert isinstance(error, InvalidError)
    (cause,) = error.causes
    found = find_key(cause.field, job, config)
    assert (None if found is None else format_path(found)) == REFUSED[name]
