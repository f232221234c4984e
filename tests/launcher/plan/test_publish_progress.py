"""`Launch.publish_progress`: a token where it was asked for, and nothing without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.kinds.registry import KINDS, kind_named
from launcher.names import KIND_NAMES, PROGRESS, KindName
from launcher.plan.error_source import find_key
from launcher.render.protection import find_weakenings
from launcher.render.render import render
from trainer.config.problems import ConfigError
from trainer.node.publish import Report, annotate
from trainer.protocol.nodefile import JobObject
from trainer.protocol.progress import Progress, RankProgress

ROLE = Path(__file__).resolve().parents[3] / "k8s/rbac/progress.yaml"
ASKED = {"publish_progress": True, "service_account": "ftlaunch-progress"}


def documents() -> dict[str, dict[str, Any]]:
    return {item["kind"]: item for item in yaml.safe_load_all(ROLE.read_text())}


@pytest.mark.parametrize("api", KIND_NAMES)
def test_the_pods_get_a_token_of_an_hour_and_the_node_process_the_object(make_plan, api: KindName):
    job = make_plan(launch={**ASKED, "api": api})
    resource = kind_named(api).resource
    assert job.node_file.publish == JobObject(api=resource.api_version, resource=resource.plural)
    spec = render(job).pod_template["spec"]
    assert spec["automountServiceAccountToken"] is False
    (volume,) = [item for item in spec["volumes"] if item["name"] == "api-access"]
    assert volume["projected"]["sources"][0] == {
        "serviceAccountToken": {"path": "token", "expirationSeconds": 3600}
    }
    (mount,) = [item for item in spec["containers"][0]["volumeMounts"] if item["name"] == "api-access"]
    assert mount == {"name": "api-access", "mountPath": "/etc/ftlaunch-api", "readOnly": True}


@pytest.mark.parametrize(("on", "launch"), [("kubernetes", {}), ("docker", ASKED), ("local", ASKED)], ids=str)
def test_else_there_is_no_token(make_plan, on, launch):
    job = make_plan(on=on, launch=launch)
    assert job.node_file.publish is None
    assert "api-access" not in render(job).text


def test_somebody_has_to_write_it(load):
    with pytest.raises(ConfigError, match=r"expected service_account beside publish_progress"):
        load(launch={"publish_progress": True})


def test_what_protects_less_is_said_and_traced_to_the_key(make_plan, load):
    manifest = render(make_plan(launch=ASKED))
    said = {item.what for item in find_weakenings(manifest.pod_template)}
    assert said == {
        "the pod is service account 'ftlaunch-progress'", "the pod gets a token of its service account"
    }  # fmt: skip
    names = [item["name"] for item in manifest.pod_template["spec"]["volumes"]]
    field = f"{manifest.kind.pods_field}.spec.volumes[{names.index('api-access')}].projected"
    assert find_key(field, manifest.job, load(launch=ASKED)) == ("Launch", "publish_progress")


def test_the_role_allows_a_patch_of_each_kind_and_nothing_else():
    role = documents()["Role"]
    allowed = {(rule["apiGroups"][0], rule["resources"][0]) for rule in role["rules"]}
    assert allowed == {(kind.resource.group, kind.resource.plural) for kind in KINDS}
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"patch"}
    (subject,) = documents()["RoleBinding"]["subjects"]
    assert subject["name"] == documents()["ServiceAccount"]["metadata"]["name"] == "ftlaunch-progress"


def test_the_policy_lets_pass_the_annotations_that_are_written():
    policy = documents()["ValidatingAdmissionPolicy"]["spec"]
    ours = next(item["expression"] for item in policy["variables"] if item["name"] == "ours")
    rank = RankProgress(
        rank=0, node=0, step=0, epoch=0, phase="load", loss=None, images_per_s=None, silent_s=0.0
    )
    progress = Progress(time_s=0.0, attempt=1, world_size=1, total_steps=0, ranks=(rank,))
    written = annotate(Report(progress=progress, left_s=None))
    assert PROGRESS in written
    assert set(yaml.safe_load(ours)) == set(written)
    (rule,) = policy["matchConstraints"]["resourceRules"]
    assert set(rule["resources"]) == {kind.resource.plural for kind in KINDS}
