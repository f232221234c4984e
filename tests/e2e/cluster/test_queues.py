"""Cancelling and resuming under Kueue, on a real API server with Kueue's kinds as bare definitions.

The test plays Kueue's controller. The definitions are the cluster's, so this runs on a kit only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster.space import REPOSITORY, USER
from tests.e2e.cluster.test_faults import delete
from tests.e2e.cluster.test_manifest import NOWHERE

GROUP = "kueue.x-k8s.io"


def definition(kind: str) -> dict[str, Any]:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    plural = f"{kind.lower()}s"
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": {"openAPIV3Schema": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "versions": [version],
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
        },
    }  # fmt: skip


@pytest.fixture
def kueue(kit, cluster) -> Iterator[None]:
    made = [definition("Workload"), definition("LocalQueue")]
    names = [f"crd/{item['metadata']['name']}" for item in made]
    cluster.apply(*made)
    try:
        cluster.kubectl("wait", "--for=condition=Established", *names, "--timeout=30s")
        yield
    finally:
        cluster.kubectl("delete", *names, "--timeout=60s")


def admit(space) -> None:
    """Make the job's Workload, as Kueue does."""
    job = space.get("paddlejob", "queued")["metadata"]
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": "queued", "uid": job["uid"]}
    workload = {
        "apiVersion": f"{GROUP}/v1beta1", "kind": "Workload", "spec": {"active": True},
        "metadata": {"name": "paddlejob-queued-1", "ownerReferences": [owner]},
    }  # fmt: skip
    space.cluster.apply(workload, namespace=space.name)


@pytest.mark.usefixtures("kueue")
def test_cancel_holds_the_workload_and_resume_lets_it_go(place, space, write_job):
    cfg = write_job(Launch__queue={"kueue": "team-a"}, **NOWHERE)
    place.run("ftlaunch", "submit", cfg, "--name", "queued")
    assert space.get("paddlejob", "queued")["metadata"]["labels"][f"{GROUP}/queue-name"] == "team-a"
    admit(space)
    refused = place.run("ftlaunch", "cancel", code=3)
    assert "queue 'team-a' of Kueue would start it again" in refused.stderr
    assert '"apiGroups": ["kueue.x-k8s.io"], "resources": ["workloads"]' in refused.stderr
    assert place.status()["state"] != "Cancelled"
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac/kueue.yaml"))
    bound = f"--serviceaccount={space.name}:{USER}"
    space.kubectl("create", "rolebinding", "kueue", "--role=ftlaunch-kueue-user", bound)
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    assert space.get("workload", "paddlejob-queued-1")["spec"]["active"] is False
    place.run("ftlaunch", "resume")
    assert space.get("workload", "paddlejob-queued-1")["spec"]["active"] is True
    assert place.status()["state"] == "Queued"
    delete(place, space, "queued")
