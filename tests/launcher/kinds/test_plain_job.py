"""The second kind, which asks more of the protocol than the first: an indexed Job with a headless Service."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from launcher.backends.kubernetes.create import Creator
from launcher.backends.kubernetes.status import read_job
from launcher.backends.replicas import ReplicaError, expand
from launcher.backends.states import JobState
from launcher.kinds.registry import PADDLE_JOB, PLAIN_JOB
from launcher.kube.errors import DeniedError
from launcher.objects import CONFIG_MAPS, JOBS, SERVICES, KubeObject, Resource
from launcher.plan.error_source import find_key
from launcher.render.manifest import Manifest, ManifestError, parse_manifest
from launcher.render.render import render
from tests.launcher.configs import RUN_ID
from trainer.config.problems import ConfigError

NUMBER = "batch.kubernetes.io/job-completion-index"


@pytest.fixture
def manifest(make_plan) -> Manifest:
    return render(make_plan(launch={"nodes": 2, "keep_finished": "1h"}, api="job"))


def at(second: int) -> str:
    return f"2026-01-01T00:00:{second:02d}Z"


def pod(
    number: int, *, born: int = 0, phase: str = "Running", code: int | None = None, uid: str = "job"
) -> Any:
    state: dict[str, Any] = {"running": {"startedAt": at(born + 1)}}
    if code is not None:
        state = {"terminated": {"exitCode": code, "finishedAt": at(born + 2)}}
    return {
        "metadata": {
            "name": f"j-{number}-{born:05d}", "uid": f"{number}-{born}", "creationTimestamp": at(born),
            "labels": {NUMBER: str(number)}, "ownerReferences": [{"uid": uid}],
        },
        "spec": {"nodeName": "n1"},
        "status": {"phase": phase, "containerStatuses": [{"name": "node", "state": state}]},
    }  # fmt: skip


def job(*conditions: str, suspend: bool = False, started: bool = True) -> KubeObject:
    listed = [{"type": kind, "status": "True", "lastTransitionTime": at(30)} for kind in conditions]
    status: KubeObject = {"conditions": listed} if listed else {}
    return {
        "metadata": {
            "name": "j", "namespace": "ml", "uid": "job", "labels": {"ftlaunch.io/run-id": RUN_ID},
            "creationTimestamp": at(0),
        },
        "spec": {"completions": 2, "suspend": suspend},
        "status": status | ({"startTime": at(0)} if started else {}),
    }  # fmt: skip


def test_pods_find_node_0_below_the_service_and_their_number_in_a_label(manifest):
    (service,) = manifest.companions
    spec = service["spec"]
    assert (service["kind"], service["metadata"]["name"]) == ("Service", manifest.name)
    assert (spec["clusterIP"], spec["publishNotReadyAddresses"]) == ("None", True)
    assert spec["selector"] == {"batch.kubernetes.io/job-name": manifest.name}
    assert (manifest.pod_spec["subdomain"], manifest.pod_spec["restartPolicy"]) == (manifest.name, "Never")
    node_file = json.loads(manifest.config_map["data"]["node.json"])
    assert node_file["coordinator_host"] == f"{manifest.name}-0.{manifest.name}"
    env = {item["name"]: item for item in manifest.pod_spec["containers"][0]["env"]}
    assert env["FTL_NODE"]["valueFrom"]["fieldRef"]["fieldPath"] == f"metadata.labels['{NUMBER}']"


def test_the_policy_retries_what_the_kind_says_and_keeps_peers_with_their_logs(manifest):
    spec = manifest.job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 2, 2)
    assert spec["ttlSecondsAfterFinished"] == 3600
    ignored, failed, evicted = spec["podFailurePolicy"]["rules"]
    for rule, operator, action in ((ignored, "In", "Ignore"), (failed, "NotIn", "FailIndex")):
        codes = rule["onExitCodes"]
        assert (rule["action"], codes["operator"], codes["containerName"]) == (action, operator, "node")
        assert all(PLAIN_JOB.is_retried(code) for code in codes["values"])
    assert evicted == {
        "action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
    }
    assert spec["backoffLimitPerIndex"] > 1000


def test_it_is_read_back_whole_and_not_without_its_service(manifest):
    again = parse_manifest(manifest.text)
    assert again.kind is PLAIN_JOB
    assert (again.job, again.companions) == (manifest.job, manifest.companions)
    parts = manifest.text.split("\n---\n")
    for text in ("\n---\n".join((parts[0], parts[2])), "\n---\n".join((*parts, parts[2]))):
        with pytest.raises(ManifestError, match=r"a PaddleJob of kubeflow\.org/v1"):
            parse_manifest(text)


def test_a_patch_reaches_its_pods_and_nothing_beside(make_plan):
    patch = {"spec": {"schedulerName": "mine"}}
    plan = make_plan(launch={"nodes": 2, "pod_patch": patch}, api="job")
    patched = render(plan)
    assert patched.pod_spec["schedulerName"] == "mine"
    assert patched.companions == render(replace(plan, pod_patch=None)).companions
    with pytest.raises(Exception, match="restartPolicy"):
        render(replace(plan, pod_patch={"spec": {"restartPolicy": "OnFailure"}}))


def test_what_it_cannot_do_is_refused_at_its_place(make_plan):
    with pytest.raises(ConfigError, match=r"Launch\.queue\.volcano: expected what a Job of batch/v1 can do"):
        make_plan(launch={"queue": {"volcano": "team-a"}}, api="job")
    make_plan(launch={"queue": {"kueue": "team-a"}}, api="job")


@pytest.mark.parametrize(("field", "key"), [
    ("spec.ttlSecondsAfterFinished", ("Launch", "keep_finished")),
    ("spec.completions", ("Launch", "nodes")),
    ("spec.template.spec.containers[0].image", ("Launch", "image")),
])  # fmt: skip
def test_a_field_that_is_refused_leads_to_its_key(manifest, load, field, key):
    assert find_key(field, manifest.job, load()) == key


def test_of_the_pods_of_a_number_the_newest_counts_and_a_namesakes_none():
    old, new, other = pod(1, born=1, phase="Failed", code=143), pod(1, born=20), pod(0, born=1)
    found = PLAIN_JOB.pods_of(job(), [old, new, other, pod(0, born=40, uid="another")])
    assert [item["metadata"]["uid"] for item in found] == ["0-1", "1-20"]


@pytest.mark.parametrize(("given", "pods", "state"), [
    (job(started=False), [], JobState.SUBMITTED),
    (job(), [pod(0), pod(1)], JobState.RUNNING),
    (job("FailureTarget"), [pod(0), pod(1, phase="Failed", code=3)], JobState.RUNNING),
    (job("Failed"), [pod(0, phase="Failed", code=3)], JobState.FAILED),
    (job("Complete"), [], JobState.SUCCEEDED),
    (job("Suspended", suspend=True), [pod(0)], JobState.RUNNING),
    (job("Suspended", suspend=True), [], JobState.SUSPENDED),
], ids=["new", "runs", "fails soon", "failed", "done", "stopping", "suspended"])  # fmt: skip
def test_states_are_read_from_its_conditions_and_pods(given, pods, state):
    assert read_job(given, pods, kind=PLAIN_JOB, restarts={}, progress=None).state is state


def test_an_event_of_another_job_with_a_longer_name_is_not_taken_for_its_own():
    assert PLAIN_JOB.is_name_of("j-1-abcde", job="j")
    assert not PLAIN_JOB.is_name_of("j-2-1-abcde", job="j")
    assert not PLAIN_JOB.is_name_of("jj-1-abcde", job="j")


def test_it_is_played_here_as_the_job_controller_would(manifest):
    pods = expand(manifest)
    assert [one.env["FTL_NODE"] for one in pods] == ["0", "1"]
    assert [one.env["JOB_COMPLETION_INDEX"] for one in pods] == ["0", "1"]
    assert "PADDLE_MASTER" not in pods[1].env
    manifest.job["spec"]["successPolicy"] = {}
    manifest.job["spec"]["parallelism"] = 1
    with pytest.raises(ReplicaError) as caught:
        expand(manifest)
    assert "spec.successPolicy" in str(caught.value)
    assert "spec.parallelism: expected 2, as completions" in str(caught.value)


class Requests:
    """A cluster that stores what is made, and refuses one kind of object on demand. A `KubeApi`, in part."""

    def __init__(self, *, refuses: Resource | None = None) -> None:
        self.made: list[str] = []
        self.adopted: list[str] = []
        self._refuses = refuses

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        if resource is self._refuses:
            raise DeniedError("no")
        self.made.append(resource.kind)
        return {**body, "metadata": {**body["metadata"], "uid": resource.kind, "namespace": namespace}}

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        raise DeniedError("no")

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        (owner,) = body["metadata"]["ownerReferences"]
        self.adopted.append(f"{resource.kind} by {owner['kind']}")
        return body

    def delete(self, resource: Resource, name: str, *, namespace: str, uid: str, first: bool = False) -> None:
        self.made.remove(resource.kind)


def test_its_service_is_made_before_it_and_goes_with_it(manifest):
    cluster: Any = Requests()
    Creator(cluster, kind=PLAIN_JOB, pause=lambda _: None).create(manifest, namespace="ml")
    assert cluster.made == ["ConfigMap", "Service", "Job"]
    assert cluster.adopted == ["ConfigMap by Job", "Service by Job"]


@pytest.mark.parametrize("refused", [CONFIG_MAPS, SERVICES, JOBS], ids=lambda resource: resource.kind)
def test_what_was_made_is_taken_back_where_the_next_is_refused(manifest, refused):
    cluster: Any = Requests(refuses=refused)
    with pytest.raises(DeniedError):
        Creator(cluster, kind=PLAIN_JOB, pause=lambda _: None).create(manifest, namespace="ml")
    assert cluster.made == []


def test_a_paddlejob_has_nothing_beside_it(make_plan):
    assert render(make_plan()).companions == PADDLE_JOB.companions == ()
