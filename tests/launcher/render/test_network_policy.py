from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[3]
POLICY = yaml.safe_load((REPOSITORY / "k8s/network/training.yaml").read_text())
GOLDENS = sorted((REPOSITORY / "tests/goldens").glob("*.yaml"))


def pod_labels(path: Path) -> list[dict[str, str]]:
    """Return the labels of every pod template of a manifest, wherever its kind has it."""
    found: list[dict[str, str]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "containers" in value.get("spec", {}) and "labels" in value.get("metadata", {}):
                found.append(value["metadata"]["labels"])
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for document in yaml.safe_load_all(path.read_text()):
        walk(document)
    return found


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_the_policy_selects_the_pods_of_every_job_and_lets_them_reach_each_other(path: Path) -> None:
    labels = pod_labels(path)
    assert labels
    (rule,) = POLICY["spec"]["ingress"]
    (peer,) = rule["from"]
    for selector in (POLICY["spec"]["podSelector"], peer["podSelector"]):
        assert all(selector["matchLabels"].items() <= found.items() for found in labels)


def test_the_policy_closes_all_other_ways_in_and_none_out() -> None:
    assert POLICY["spec"]["policyTypes"] == ["Ingress"]
    assert "ports" not in POLICY["spec"]["ingress"][0]  # gloo and NCCL choose theirs


def test_the_policy_leaves_the_pods_beside_volumes_alone() -> None:
    readers = yaml.safe_load((REPOSITORY / "k8s/network/volume-readers.yaml").read_text())
    ours, theirs = (policy["spec"]["podSelector"]["matchLabels"] for policy in (POLICY, readers))
    assert ours["app.kubernetes.io/component"] != theirs["app.kubernetes.io/component"]
