"""What every kind of job object answers, and that nobody outside asks for a kind by its name."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest
import yaml

from launcher.config.launch import LaunchSection
from launcher.kinds.base import CANCELLED_ANNOTATION, JobKind
from launcher.kinds.pods import container_of, node_of
from launcher.kinds.registry import KINDS, PADDLE_JOB, find_kind, kind_named
from launcher.names import RUN_ID_LABEL, KindName
from launcher.objects import KubeObject
from launcher.render.crds import find_faults, load_schema
from launcher.render.manifest import Manifest
from launcher.render.templates import template_folders

ROOT = Path(__file__).resolve().parents[3]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def stored(kind: JobKind, render_job, *, suspended: bool = False) -> KubeObject:
    """Return an object as a server has it, from what is rendered."""
    job = render_job(kind)
    job["metadata"] |= {"namespace": "ml", "uid": "job-uid", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return merge(job, kind.suspend_patch(suspend=suspended))


def merge(old: KubeObject, patch: KubeObject) -> KubeObject:
    """Apply a JSON merge patch (RFC 7386)."""
    merged = dict(old)
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return merged


@pytest.fixture
def render_whole(make_plan):
    from launcher.render.render import render

    def render_one(kind: JobKind, **launch: object) -> Manifest:
        return render(make_plan(launch={"nodes": 2, "name": "flowers", **launch}, api=kind.name))

    return render_one


@pytest.fixture
def render_job(render_whole):
    return lambda kind: render_whole(kind).job


def test_names_of_kinds_are_those_that_a_config_may_say():
    assert {kind.name for kind in KINDS} == set(get_args(KindName))
    said = get_args(LaunchSection.model_fields["api"].annotation)
    assert set(said) == {"auto", *(kind.name for kind in KINDS)}
    assert [kind_named(kind.name) for kind in KINDS] == list(KINDS)


@every_kind
def test_what_is_rendered_is_an_object_of_the_kind_with_its_pods_where_it_says(kind, render_whole):
    manifest = render_whole(kind)
    assert find_kind(manifest.job) is kind
    assert kind.replicas_of(manifest.job) == 2
    (container,) = manifest.pod_spec["containers"]
    assert container["name"] == kind.container
    (number,) = [item for item in container["env"] if item["name"] == "FTL_NODE"]
    assert number["valueFrom"]["fieldRef"]["fieldPath"] == kind.node_field
    assert any((folder / kind.template).is_file() for folder in template_folders())


@every_kind
def test_the_pods_are_the_same_in_every_kind_but_for_what_the_kind_puts_there(kind, render_whole):
    own = {"restartPolicy", "subdomain"}
    ours, others = (dict(render_whole(each).pod_spec) for each in (kind, PADDLE_JOB))
    for spec in (ours, others):
        for key in own:
            spec.pop(key, None)
        (container,) = spec["containers"]
        env = [item for item in container["env"] if item["name"] != "FTL_NODE"]
        spec["containers"] = [{**container, "name": "", "env": env}]
    assert ours == others


@every_kind
def test_the_schemas_of_its_objects_take_all_that_is_rendered(kind, render_whole):
    manifest = render_whole(kind, queue={"kueue": "team-a"}, annotations={"example.com/a": "b"}, rdma=True)
    whole = [manifest.job, *(item for item in manifest.companions if item["kind"] != "Service")]
    inner = [manifest.inner_job] if manifest.inner_job else []
    assert [fault for item in (*whole, *inner) for fault in find_faults(item)] == []
    manifest.job["spec"]["nonsense"] = 1
    assert find_faults(manifest.job) == ["spec.nonsense: expected a field that exists, got 1"]
    assert manifest.job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"


@every_kind
@pytest.mark.parametrize("said", ["paddle", "node"])
def test_a_patch_may_call_the_trainer_by_its_name_in_any_kind(kind, render_whole, said):
    env = [{"name": "NCCL_DEBUG", "value": "WARN"}]
    manifest = render_whole(kind, pod_patch={"spec": {"containers": [{"name": said, "env": env}]}})
    (container,) = manifest.pod_spec["containers"]
    assert container["name"] == kind.container
    assert env[0] in container["env"]


@every_kind
def test_the_job_inside_is_named_and_numbered_as_its_pods_will_be(kind, render_whole):
    manifest = render_whole(kind)
    inner, name = manifest.inner_job, kind.inner_job_name(manifest.name)
    assert (inner is None) is (name is None)
    if inner is not None:
        assert (inner["metadata"]["name"], inner["spec"]["completions"]) == (name, 2)
        assert inner["spec"]["template"] == manifest.pod_template
        assert kind.is_name_of(str(name), job=manifest.name)


@every_kind
def test_what_is_kept_of_a_long_list_says_the_same(kind, render_job):
    for suspended in (True, False):
        job = stored(kind, render_job, suspended=suspended)
        short = kind.trim(job)
        assert kind.is_suspended(job) is kind.is_suspended(short) is suspended
        assert kind.replicas_of(short) == kind.replicas_of(job)
        assert short["metadata"]["labels"][RUN_ID_LABEL] == job["metadata"]["labels"][RUN_ID_LABEL]
        assert "containers" not in str(short)


@every_kind
def test_only_a_suspension_of_ours_is_a_cancellation(kind, render_job):
    job = stored(kind, render_job, suspended=True)
    assert not kind.is_cancelled(job)
    job["metadata"]["annotations"] = {CANCELLED_ANNOTATION: "true"}
    assert kind.is_cancelled(job)
    assert not kind.is_cancelled(merge(job, kind.suspend_patch(suspend=False)))


@every_kind
def test_a_new_job_has_not_ended_and_nobody_has_looked_at_it(kind, render_job):
    job = stored(kind, render_job)
    assert kind.ending_of(job) is None
    assert kind.stopped_of(job) is None
    assert not kind.is_noticed(job)


@every_kind
def test_a_kind_that_is_offered_has_its_schema_and_its_grants_in_the_role_for_users(kind):
    assert load_schema(f"{kind.resource.api_version.replace('/', '-')}.json")
    role = yaml.safe_load((ROOT / "k8s/rbac/user.yaml").read_text())
    given = {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    for grant in kind.grants:
        assert set(grant.verbs) <= given[grant.group, grant.resource]


@every_kind
def test_names_up_to_its_limit_make_valid_names_of_pods_and_hosts(kind):
    job = "a" * kind.max_name
    host = kind.coordinator_host(job)
    assert all(len(part) <= 63 for part in host.split("."))
    for nodes in (1, 10, 11, 100, 101, 1000):
        longest = "a" * kind.max_name_of(nodes)
        assert kind.max_name <= kind.max_name_of(nodes)
        if (inner := kind.inner_job_name(longest)) is not None:
            assert len(f"{inner}-{nodes - 1}-abcde") <= 63  # what its webhook counts
    name = kind.pod_name(job, 999)
    assert name is None or (len(name) <= 63 and kind.is_name_of(name, job=job))
    assert kind.is_name_of(job, job=job)
    assert not kind.is_name_of(f"{job}b", job=job)


@every_kind
def test_a_pod_is_read_by_what_the_controller_has_put_on_it(kind):
    status = {"containerStatuses": [{"name": "sidecar"}, {"name": kind.container, "restartCount": 3}]}
    pod = {"metadata": {"labels": dict(kind.labels_of_pod("flowers", 7))}, "status": status}
    assert node_of(pod) == 7
    assert container_of(pod)["restartCount"] == 3
    assert container_of({"metadata": {}, "status": {}}) == {}


@every_kind
def test_an_exit_of_the_trainers_own_is_not_retried_and_a_stop_after_saving_is(kind):
    assert not any(kind.is_retried(code) for code in (1, 2, 3, 4, 5, 20, 23, 127))
    assert kind.is_retried(143)
    assert kind.is_retried(137)


def test_a_place_below_a_list_is_written_as_a_server_writes_it():
    class Nested(type(PADDLE_JOB)):  # type: ignore[misc]  # a class that is known at run time
        pods_path = ("spec", "replicatedJobs", 0, "template", "spec", "template")

    job = {"spec": {"replicatedJobs": [{"template": {"spec": {"template": {"spec": {}}}}}]}}
    assert Nested().pods_field == "spec.replicatedJobs[0].template.spec.template"
    assert Nested().pod_template_of(job) == {"spec": {}}
    assert PADDLE_JOB.pods_field == "spec.paddleReplicaSpecs.Worker.template"


def test_a_kind_that_is_not_ours_is_no_kind():
    assert find_kind({"apiVersion": "batch.paddlepaddle.org/v1", "kind": "PaddleJob"}) is None
    assert find_kind({}) is None
    with pytest.raises(KeyError):
        kind_named("batch")


@pytest.mark.parametrize(("said", "completed", "ended_s"), [
    ("Succeeded", "2026-01-01T00:01:00Z", 1767225660.0),
    ("Failed", None, 1767225720.0),
])  # fmt: skip
def test_a_paddlejob_has_ended_when_it_says_or_else_when_its_condition_does(said, completed, ended_s):
    condition = {
        "type": said, "status": "True", "message": "m", "lastTransitionTime": "2026-01-01T00:02:00Z",
    }  # fmt: skip
    job = {"status": {"conditions": [condition], "completionTime": completed}}
    ending = PADDLE_JOB.ending_of(job)
    assert ending is not None
    assert (ending.succeeded, ending.ended_s, ending.message) == (said == "Succeeded", ended_s, "m")


def test_a_webhook_that_leaves_out_the_role_of_a_paddlejob_is_understood():
    short = ("spec", "paddleReplicaSpecs", "template", "spec")
    assert PADDLE_JOB.complete_path(short) == (*PADDLE_JOB.pods_path, "spec")
    assert PADDLE_JOB.complete_path(("spec", "runPolicy")) == ("spec", "runPolicy")


def test_nobody_outside_compares_with_the_name_of_a_kind_or_knows_its_words():
    """What differs between kinds is asked of a kind: else the next one means a search through the tree."""
    names = set(get_args(KindName))
    words = {kind.job_label for kind in KINDS} | {kind.index_label for kind in KINDS}
    parts = {"paddleReplicaSpecs", "runPolicy", "podFailurePolicy", "completions"}
    found = []
    for path in sorted((ROOT / "launcher").rglob("*.py")):
        if path.is_relative_to(ROOT / "launcher/kinds"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            for item in compared:
                if isinstance(item, ast.Constant) and item.value in names:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno}: compares with {item.value!r}")
            if isinstance(node, ast.Constant) and node.value in words | parts:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}: knows {node.value!r}")
    assert not found, found
