"""Typical manifests as files, so that a change of the template is seen. Renew: pytest --update-goldens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.backends.replicas import expand
from launcher.kube.resources import CONFIG_MAPS, PADDLE_JOBS
from launcher.plan.plan import plan
from launcher.render.manifest import Manifest
from launcher.render.render import render
from launcher.spec.flags import Flags
from launcher.spec.load import load_run_config
from tests.fakes.admission import admit
from tests.launcher.configs import RUN_ID

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
EVERYTHING: dict[str, Any] = {
    "name": "flowers", "nodes": 2, "namespace": "vision",
    "resources": {"cpu": 16, "memory": "64Gi", "shm": "8Gi"},
    "volumes": [
        {"mount": "/data", "claim": "flowers", "read_only": True, "sub_path": "jpg"},
        {"mount": "/output", "host_path": "/mnt/runs"},
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


def example(name: str, flags: Flags | None = None, **given: Any) -> Manifest:
    config = load_run_config(EXAMPLES / name, flags=flags)
    return render(plan(config, run_id=RUN_ID, version="0.1.0", **given))


@pytest.fixture
def manifests(make_plan) -> dict[str, Manifest]:
    return {
        "quickstart-local.yaml": example("quickstart.yaml", on="local", gpus_here=0),
        "fine-tuning.yaml": example("ResNet50_vd.yaml", on="kubernetes"),
        "fine-tuning-two-nodes.yaml": example(
            "ResNet50_vd.yaml", Flags(nodes=2, gpus=8), on="kubernetes", overwrite=True, exact_name="mine"
        ),
        "everything.yaml": render(make_plan(["Global.epochs=3"], launch=EVERYTHING)),
    }


@pytest.mark.parametrize(
    "name", ["quickstart-local.yaml", "fine-tuning.yaml", "fine-tuning-two-nodes.yaml", "everything.yaml"]
)
def test_a_typical_manifest_is_the_golden_one(manifests, check_golden, name):
    check_golden(name, manifests[name].text)


def test_the_cluster_admits_all_of_them(manifests):
    for manifest in manifests.values():
        namespace = manifest.namespace or "default"
        admit(CONFIG_MAPS, manifest.config_map, namespace=namespace)
        admit(PADDLE_JOBS, manifest.job, namespace=namespace)


def test_their_pods_can_be_played_here(manifests):
    for manifest in manifests.values():
        pods = expand(manifest)
        assert len(pods) == manifest.job["spec"]["paddleReplicaSpecs"]["Worker"]["replicas"]
        assert [pod.env["FTL_NODE"] for pod in pods] == [str(index) for index in range(len(pods))]
