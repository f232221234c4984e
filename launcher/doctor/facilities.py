"""What jobs use of a cluster: GPUs, storage, names, queues, and what the namespace lets in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.backends.kubernetes.apis import serves
from launcher.backends.kubernetes.gangs import makes_gangs
from launcher.backends.kubernetes.kueue import find_kind, looks_after
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Finding, Level, fail, ok, warn
from launcher.kinds.registry import DEFAULT, KINDS
from launcher.kube.errors import AbsentError, DeniedError
from launcher.objects import (
    ENDPOINT_SLICES,
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    STORAGE_CLASSES,
    Resource,
)

_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_LEVEL = "pod-security.kubernetes.io/enforce"
_QUEUES = {
    "kueue.x-k8s.io": "Kueue", "scheduling.x-k8s.io": "coscheduling", "scheduling.volcano.sh": "Volcano",
}  # fmt: skip
_MAX_PODS = 500
_MAX_NODES = 5000  # what Kubernetes is made for (kubernetes.io, "Considerations for large clusters")


def check_gpus(info: ClusterInfo, *, resource: str) -> list[Finding]:
    """Count what the nodes offer; a device plug-in puts it there."""
    nodes = info.api.list(NODES, namespace="", at_most=_MAX_NODES)
    ready = [node for node in nodes if _is_ready(node)]
    gpus = [int(str(_allocatable(node).get(resource) or 0)) for node in ready]
    if not ready:
        return [fail("gpus", f"none of {len(nodes)} nodes is ready", "an administrator: `kubectl get nodes`")]
    if not any(gpus):
        return [
            warn(
                "gpus",
                f"none of {len(ready)} ready nodes offers {resource}",
                "an administrator: install the GPU operator or the device plug-in; or train with --gpus 0",
            )
        ]
    offering = [count for count in gpus if count]
    return [ok("gpus", f"{sum(gpus)} {resource} on {len(offering)} nodes, at most {max(gpus)} on one")]


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    is_ready = any(item.get("type") == "Ready" and item.get("status") == "True" for item in conditions)
    return is_ready and not (node.get("spec") or {}).get("unschedulable")


def _allocatable(node: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (node.get("status") or {}).get("allocatable") or {}
    return found


def check_storage(info: ClusterInfo) -> list[Finding]:
    """Look for the class of claims that name none."""
    classes = info.api.list(STORAGE_CLASSES, namespace="")
    for item in classes:
        if ((item.get("metadata") or {}).get("annotations") or {}).get(_DEFAULT_CLASS) == "true":
            return [ok("storage", f"default class {item['metadata']['name']} ({item.get('provisioner')})")]
    names = ", ".join(str(item["metadata"]["name"]) for item in classes) or "none at all"
    return [
        warn(
            "storage", f"no default storage class, of: {names}",
            "name a storageClassName in your claims, or bind them to volumes made by hand",
        )
    ]  # fmt: skip


def check_dns(info: ClusterInfo) -> list[Finding]:
    """Look for the cluster's DNS, without which pods do not find `<job>-worker-0`."""
    services = info.api.list(SERVICES, namespace="kube-system", labels="k8s-app=kube-dns")
    if not services:
        return [
            warn(
                "dns", "no service with the label k8s-app=kube-dns in kube-system",
                "jobs of several nodes need names: see that pods resolve `kubernetes.default`",
            )
        ]  # fmt: skip
    name = str(services[0]["metadata"]["name"])
    slices = info.api.list(
        ENDPOINT_SLICES, namespace="kube-system", labels=f"kubernetes.io/service-name={name}"
    )
    ready = sum(
        len(end.get("addresses") or ())
        for item in slices
        for end in item.get("endpoints") or ()
        if (end.get("conditions") or {}).get("ready") is not False
    )
    if not ready:
        fix = "an administrator: `kubectl -n kube-system get pods -l k8s-app=kube-dns`"
        return [fail("dns", f"service kube-system/{name} has no ready endpoint", fix)]
    return [ok("dns", f"service kube-system/{name}, {ready} ready {'end' if ready == 1 else 'ends'}")]


def check_namespace(info: ClusterInfo) -> list[Finding]:
    """Look at the pod security level that is enforced."""
    try:
        found = info.api.get(NAMESPACES, info.namespace, namespace="")
    except AbsentError:
        fix = "create it, or name another with --namespace"
        return [fail("namespace", f"there is no namespace {info.namespace!r}", fix)]
    level = ((found.get("metadata") or {}).get("labels") or {}).get(_LEVEL) or "privileged"
    limits = {
        "restricted": "jobs pass, but for `rdma: true` and hostPath volumes",
        "baseline": "jobs pass, but for hostPath volumes and `rdma: true`",
    }
    return [
        ok(
            "namespace",
            f"{info.namespace}, pod security level {level}: {limits.get(level, 'all jobs pass')}",
        )
    ]


def check_queues(info: ClusterInfo) -> list[Finding]:
    """Say what can start all pods of a job together."""
    listed = info.api.read("/apis").document.get("groups") or ()
    versions = {str(item["name"]): str(item["preferredVersion"]["version"]) for item in listed}
    found = [words for group, words in _QUEUES.items() if group in versions]
    if not found:
        message = "none of Kueue, coscheduling, Volcano: where room is short, a job may start in part"
        return [ok("queues", message)]
    if "coscheduling" in found:
        found[found.index("coscheduling")] = f"coscheduling ({_see_gangs(info)})"
    queues = _list_queues(info, versions["kueue.x-k8s.io"]) if "Kueue" in found else ""
    return [ok("queues", ", ".join(found) + queues)]


def check_queued_kinds(info: ClusterInfo) -> list[Finding]:
    """Say which kinds of jobs wait in Kueue's queues, and which start at once whatever queue they name."""
    if find_kind(info.api) is None:
        return []
    served = [kind for kind in KINDS if serves(info.api, kind)]
    answers = {kind: looks_after(info.api, kind, namespace=info.namespace) for kind in served}
    heeded = ", ".join(f"{kind.resource.kind}s" for kind in served if answers[kind])
    ignored = [kind for kind in served if answers[kind] is False]
    if ignored:
        names = ", ".join(f"{kind.resource.kind}s" for kind in ignored)
        frameworks = ", ".join(kind.kueue_framework for kind in ignored)
        return [
            warn(
                "queued kinds",
                f"Kueue looks after {heeded or 'none of the kinds here'}, and not after {names}: these start"
                f" at once in {info.namespace}, whatever queue they name",
                f"an administrator: Kueue's settings integrations.frameworks ({frameworks}) and"
                " managedJobsNamespaceSelector; or leave Launch.api at auto, which takes one that is queued",
            )
        ]
    if heeded:
        return [ok("queued kinds", f"Kueue looks after {heeded} in {info.namespace}")]
    return [
        Finding(
            check="queued kinds", level=Level.SKIP, fix="",
            message="which kinds Kueue looks after cannot be seen by this user",
        )
    ]  # fmt: skip


def _see_gangs(info: ClusterInfo) -> str:
    try:
        pods = info.api.list(PODS, namespace=info.namespace, labels=DEFAULT.job_label, at_most=_MAX_PODS)
    except (DeniedError, AbsentError):
        pods = ()
    made = makes_gangs(pods)
    if made is None:
        return (
            "used if the training operator runs with --gang-scheduler-name, which no pod of a job here shows"
        )
    if made:
        return "the training operator makes a gang of every job"
    return "not used: the training operator runs without --gang-scheduler-name, by the last job here"


def _describe_queue(queue: Mapping[str, Any]) -> str:
    conditions = (queue.get("status") or {}).get("conditions") or []
    closed = [
        str(item.get("message")) for item in conditions
        if item.get("type") == "Active" and item.get("status") == "False"
    ]  # fmt: skip
    return str(queue["metadata"]["name"]) + (f" (takes nothing in: {closed[0]})" if closed else "")


def _list_queues(info: ClusterInfo, version: str) -> str:
    kind = Resource(group="kueue.x-k8s.io", version=version, plural="localqueues", kind="LocalQueue")
    try:
        items = info.api.list(kind, namespace=info.namespace)
    except (DeniedError, AbsentError):
        return ""
    names = ", ".join(map(_describe_queue, items))
    return f"; queues of {info.namespace}: {names or 'none'}"
