"""Typical manifests as files, so that a change of the template is seen. Renew: pytest --update-goldens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from launcher.backends.replicas import expand
from launcher.config.flags import Flags
from launcher.config.load import load_run_config
from launcher.objects import CONFIG_MAPS
from launcher.plan.plan import plan
from launcher.render.crds import find_faults, load_schema
from launcher.render.manifest import Manifest
from launcher.render.render import render
from tests.conftest import GOLDENS
from tests.fakes.admission import admit
from tests.launcher.configs import RUN_ID

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EVERYTHING: dict[str, Any] = {
    "name": "flowers", "nodes": 2, "namespace": "vision",
    "resources": {"cpu": 16, "memory": "64Gi", "shm": "8Gi"},
    "volumes": [
        {"mount": "/data", "claim": "flowers", "read_only": True, "sub_path": "jpg"},
        {"mount": "/output", "host_path": "/mnt/runs"},
        {"mount": "/nfs", "nfs": {"server": "files.example", "path": "/exports/no"}, "read_only": True},
        {"mount": "/csi", "csi": {
            "driver": "inline.example", "attributes": {"size": "1e3"}, "fs_type": "ext4", "secret": "keys"}},
        {"mount": "/scratch", "empty_dir": {"size": "100Gi"}},
        {"mount": "/fast", "empty_dir": {"memory": True}},
        {"mount": "/lists", "config_map": "lists"},
        {"mount": "/mine", "claim": "runs", "sub_path": "runs/{job}"},
    ],
    "env": {"NCCL_DEBUG": "WARN", "HOSTILE": "no\u2028$(HOME): {{ x }}"},
    "secrets": [{"name": "wandb", "key": "token", "mount": "/secrets/wandb"}],
    "queue": {"kueue": "team-a"}, "image_pull_policy": "Always", "image_pull_secrets": ["registry"],
    "priority_class": "batch", "node_selector": {"gpu.example/model": "h200"},
    "tolerations": [{"key": "dedicated", "value": "training", "effect": "NoSchedule"}],
    "topology_key": "topology.kubernetes.io/rack", "service_account": "trainer", "rdma": True,
    "run_as": {"user": 2000, "group": 2000, "fs_group": 3000, "supplemental_groups": [4000]},
    "labels": {"team": "vision"}, "annotations": {"example.com/note": "on a: b"},
    "weights": {"claim": "pretrained", "path": "/weights"}, "deadline": "24h", "keep_finished": "7d",
}  # fmt: skip


PATCH: dict[str, Any] = {
    "metadata": {"annotations": {"example.com/quoted": "1e3"}},
    "spec": {
        "schedulerName": "my-scheduler",
        "containers": [{"name": "paddle", "env": [{"name": "NCCL_SOCKET_IFNAME", "value": "no"}]}],
    },
}
NAMES = (
    "quickstart-local.yaml", "fine-tuning.yaml", "fine-tuning-two-nodes.yaml", "everything.yaml",
    "patched.yaml", "job.yaml", "jobset.yaml", "trainjob.yaml",
)  # fmt: skip
OTHER_KINDS: dict[str, Any] = {  # a TrainJob cannot do the first of these
    key: value for key, value in EVERYTHING.items() if key not in ("keep_finished", "volumes", "secrets")
}


def example(
    name: str, flags: Flags | None = None, *, overrides: tuple[str, ...] = (), **given: Any
) -> Manifest:
    config = load_run_config(EXAMPLES / name, flags=flags, overrides=overrides)
    return render(plan(config, run_id=RUN_ID, version="0.2.0", **given))


@pytest.fixture
def manifests(make_plan) -> dict[str, Manifest]:
    return {
        "quickstart-local.yaml": example("quickstart.yaml", on="local", gpus_here=0),
        "fine-tuning.yaml": example("ResNet50_vd.yaml", on="kubernetes"),
        "fine-tuning-two-nodes.yaml": example(
            "ResNet50_vd.yaml", Flags(nodes=2, gpus=8), on="kubernetes", overwrite=True, exact_name="mine"
        ),
        "everything.yaml": render(make_plan(["Global.epochs=3"], launch=EVERYTHING)),
        "patched.yaml": render(make_plan(launch={"pod_patch": PATCH})),
        "job.yaml": render(make_plan(launch={**OTHER_KINDS, "keep_finished": "7d"}, api="job")),
        "jobset.yaml": render(make_plan(launch={**OTHER_KINDS, "keep_finished": "7d"}, api="jobset")),
        "trainjob.yaml": render(make_plan(launch=OTHER_KINDS, api="trainjob")),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_typical_manifest_is_the_golden_one(manifests, check_golden, name):
    check_golden(name, manifests[name].text)


def test_every_golden_has_its_test():
    assert {path.name for path in GOLDENS.glob("*.yaml")} == set(NAMES)


def test_the_cluster_admits_all_of_them(manifests):
    for name in NAMES:
        manifest = manifests[name]
        namespace = manifest.namespace or "default"
        admit(CONFIG_MAPS, manifest.config_map, namespace=namespace)
        for resource, item in zip(manifest.kind.companions, manifest.companions, strict=True):
            admit(resource, item, namespace=namespace)
        admit(manifest.kind.resource, manifest.job, namespace=namespace)


@pytest.mark.parametrize("name", NAMES)
def test_the_schema_of_its_api_takes_it(manifests, name):
    assert find_faults(manifests[name].job) == []
    schema = inline(load_schema(manifests[name].job["apiVersion"].replace("/", "-") + ".json"))
    assert list(jsonschema.Draft202012Validator(schema).iter_errors(manifests[name].job)) == []


def inline(node: Any) -> Any:
    """Put the pod template where a schema refers to it."""
    if isinstance(node, dict):
        return (
            inline(load_schema(node["$ref"])) if "$ref" in node else {k: inline(v) for k, v in node.items()}
        )
    return [inline(item) for item in node] if isinstance(node, list) else node


def test_their_pods_can_be_played_here(manifests):
    for name in (
        "quickstart-local.yaml",
        "fine-tuning.yaml",
        "fine-tuning-two-nodes.yaml",
        "everything.yaml",
        "job.yaml",
        "jobset.yaml",
        "trainjob.yaml",
    ):
        manifest = manifests[name]
        pods = expand(manifest)
        assert len(pods) == manifest.kind.replicas_of(manifest.job)
        assert [pod.env["FTL_NODE"] for pod in pods] == [str(index) for index in range(len(pods))]
