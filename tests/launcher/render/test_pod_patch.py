"""`pod_patch`, the schemas that its result is held against, and users' templates."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.kinds.registry import KINDS
from launcher.plan.jobplan import JobPlan
from launcher.render.crds import find_faults, known_versions
from launcher.render.filters import to_yaml
from launcher.render.patch import PatchError, patch_template
from launcher.render.render import UserTemplateError, render

OURS = Path(__file__).resolve().parents[3] / "k8s/templates/paddlejob.yaml.j2"
hostile = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "no",
        "1e3",
        "1.10",
        "0x1",
        "1_000",
        "12:30:00",
        "~",
        "=",
        "- a",
        "a: b",
        "# c",
        "\n",
        "\x85",
        "\ufeff",
        "y",
    ]
)
scalars = (
    hostile | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False)
)
trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(hostile, inner, max_size=3)
)


@pytest.fixture
def plain_plan(make_plan) -> JobPlan:
    plan: JobPlan = make_plan()
    return plan


def worker(manifest: Any) -> dict[str, Any]:
    return dict(manifest.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"])


def patched(plan: JobPlan, **spec: Any) -> dict[str, Any]:
    return dict(worker(render(dataclasses.replace(plan, pod_patch={"spec": spec})))["spec"])


@given(st.dictionaries(hostile, trees, max_size=4))
def test_any_tree_is_written_so_that_it_reads_as_it_was(tree):
    assert yaml.safe_load(to_yaml(tree)) == tree or not tree


@given(st.dictionaries(hostile, hostile, max_size=3), hostile)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
def test_hostile_values_of_a_patch_arrive_and_change_nothing_else(plain_plan, annotations, value):
    env = [{"name": "X", "value": value}]
    patch = {
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "paddle", "env": env}], "nodeSelector": {"a": value}},
    }
    before, made = render(plain_plan), render(dataclasses.replace(plain_plan, pod_patch=patch))
    template = worker(made)
    assert template["metadata"]["annotations"] == {**plain_plan.pod_annotations, **annotations}
    assert template["spec"]["containers"][0]["env"].pop() == env[0]
    assert template["spec"].pop("nodeSelector") == {"a": value}
    template["metadata"] = worker(before)["metadata"]
    assert template == worker(before)
    assert made.config_map == before.config_map


def test_lists_are_merged_by_their_keys_and_others_are_replaced(plain_plan):
    spec = patched(
        plain_plan,
        volumes=[{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "x", "emptyDir": {}}],
        tolerations=[{"operator": "Exists"}],
        containers=[
            {"name": "sidecar", "image": "registry.example/sidecar:1"},
            {"name": "paddle", "ports": [{"containerPort": 36543, "hostPort": 36543}]},
        ],
    )
    assert [item["name"] for item in spec["containers"]] == ["paddle", "sidecar"]
    assert spec["containers"][0]["ports"][0] == {"name": "master", "containerPort": 36543, "hostPort": 36543}
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}} in spec["volumes"]
    assert len(spec["volumes"]) == 8
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_null_and_directives_remove(plain_plan):
    spec = patched(
        plain_plan, enableServiceLinks=None, volumes=[{"name": "home", "$patch": "delete"}],
        securityContext={"$patch": "replace", "runAsUser": 7},
    )  # fmt: skip
    assert "enableServiceLinks" not in spec
    assert "home" not in [volume["name"] for volume in spec["volumes"]]
    assert spec["securityContext"] == {"runAsUser": 7}


def on_paddle(**change: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "paddle", **change}]}}


def variable(name: str) -> dict[str, Any]:
    return on_paddle(env=[{"name": name, "value": "1"}])


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        (on_paddle(command=["sh"]), "expected command of 'paddle'"),
        (on_paddle(args=["x"]), "expected args of 'paddle'"),
        (on_paddle(**{"$patch": "delete"}), "'paddle' to stay"),
        (variable("FTL_NODE"), "FTL_*"),
        (variable("PADDLE_RANK"), "PADDLE_*"),
        (
            on_paddle(volumeMounts=[{"mountPath": "/etc/ftlaunch/", "name": "tmp"}]),
            "the mount /etc/ftlaunch",
        ),
        ({"metadata": {"labels": {"ftlaunch.io/run-id": "x"}}}, "the label ftlaunch.io/run-id"),
        ({"metadata": {"labels": None}}, "the label ftlaunch.io/run-id"),
        ({"spec": {"restartPolicy": "Always"}}, "restartPolicy"),
        ({"spec": {"schedulerNam": "x"}}, "spec.schedulerNam: expected a field that exists"),
        ({"spec": {"priority": "high"}}, "spec.priority: expected integer, got 'high'"),
        ({"spec": {"volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "big"}}]}}, "expected a quantity"),
        ({"spec": {"containers": [{"image": "x"}]}}, "containers[1].name: expected a value"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_not_the_users_or_no_pod_is_refused_by_name(plain_plan, patch, message):
    with pytest.raises(PatchError) as caught:
        render(dataclasses.replace(plain_plan, pod_patch=patch))
    assert "Launch.pod_patch: " in str(caught.value)
    assert message in str(caught.value)


def test_every_fault_of_a_patch_is_said_at_once(plain_plan):
    template = worker(render(plain_plan))
    with pytest.raises(PatchError) as caught:
        patch_template(
            template,
            {"spec": {"a": 1, "b": 2, "containers": [{"name": "paddle", "args": ["x"]}]}},
            container="paddle",
        )
    assert len(str(caught.value).splitlines()) == 3


def test_each_kind_of_job_has_a_schema_and_others_none(plain_plan):
    assert set(known_versions()) == {kind.resource.api_version for kind in KINDS}
    job = {**render(plain_plan).job, "apiVersion": "kubeflow.org/v2"}
    (fault,) = find_faults(job)
    assert "expected one of batch/v1, " in fault


def test_a_secret_in_a_patch_is_refused(make_plan):
    from trainer.config.problems import ConfigError

    env = [{"name": "WANDB_API_KEY", "value": "x"}]
    with pytest.raises(ConfigError, match=r"pod_patch.*secrets:"):
        make_plan(launch={"pod_patch": {"spec": {"containers": [{"name": "paddle", "env": env}]}}})


def test_a_patch_can_be_changed_from_the_command_line(make_plan):
    job = make_plan(["Launch.pod_patch.spec.schedulerName=mine"], launch={"pod_patch": {"spec": {}}})
    assert worker(render(job))["spec"]["schedulerName"] == "mine"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cleanPodPolicy: None", "cleanPodPolcy: None", "spec.runPolicy.cleanPodPolcy: expected a field"),
        ("replicas: {{ plan.nodes | json }}", "replicas: two", "replicas: expected integer, got 'two'"),
        ("apiVersion: kubeflow.org/v1", "apiVersion: kubeflow.org/v9", "a PaddleJob of kubeflow.org/v1 or "),
        ("name: {{ plan.job | json }}", "name: other", "metadata: expected cfg-"),
        ("spec:", "spec: [", "expected YAML"),
    ],
)  # fmt: skip
def test_what_a_users_template_gives_is_held_against_the_schema(plain_plan, tmp_path, old, new, message):
    text = OURS.read_text()
    assert old in text
    (tmp_path / OURS.name).write_text(text.replace(old, new))
    with pytest.raises(UserTemplateError) as caught:
        render(plain_plan, template_dirs=[tmp_path])
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_part_of_ours_can_be_laid_over_alone(plain_plan, tmp_path):
    text = OURS.with_name("pod.yaml.j2").read_text()
    (tmp_path / "pod.yaml.j2").write_text(
        text.replace("name: tmp, emptyDir: {}", "name: tmp, emptyDir: {sizeLimit: 1Gi}")
    )
    made = render(plain_plan, template_dirs=[tmp_path])
    assert {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}} in worker(made)["spec"]["volumes"]


def test_a_folder_without_a_template_of_ours_changes_nothing(plain_plan, tmp_path):
    (tmp_path / "notes.j2").write_text("{{ nonsense")
    assert render(plain_plan, template_dirs=[tmp_path]).text == render(plain_plan).text
