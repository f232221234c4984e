"""Reads a pod of whichever kind of job: its labels and containers tell, so that nobody has to know the kind.

Kinds differ in two things that a pod alone shows, the label that holds its number and the name of the
trainer's container. No two kinds share a label with different meanings, and kinds are tried in their order,
so that a sidecar that a user has named as another kind's trainer is not taken for it.
"""

from __future__ import annotations

from launcher.kinds.registry import KINDS
from launcher.objects import KubeObject


def node_of(pod: KubeObject) -> int:
    """Return the number of the node that a pod is, from 0.

    Raises:
        KeyError: It is a pod of no job of ours.
    """
    labels = pod["metadata"].get("labels") or {}
    found = next((kind.index_label for kind in KINDS if kind.index_label in labels), KINDS[0].index_label)
    return int(labels[found])


def container_of(pod: KubeObject) -> KubeObject:
    """Return the status of the container that trains; empty before the kubelet has seen the pod."""
    listed = (pod.get("status") or {}).get("containerStatuses") or []
    by_name = {item["name"]: item for item in listed}
    return next((by_name[kind.container] for kind in KINDS if kind.container in by_name), {})
