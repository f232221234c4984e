"""A manifest -> its pods, as training operator v1.9.3 makes them (pkg/controller.v1/paddlepaddle). Pure.

What docker and local run. A part of a manifest that they could not honour is refused by name, not ignored: a
probe or a sidecar that is silently left out would make a rehearsal lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from launcher.backends.podspec import Mount, Problems, Source, read_mounts, require_known
from launcher.errors import UsageError
from launcher.objects import KubeObject
from launcher.render.manifest import Manifest
from launcher.render.references import expand_references
from trainer.protocol.environment import STORE_PORT, TERMINATION_PATH

CONTAINER = "paddle"
FIRST_RETRIED_EXIT = 128
"""Under `ExitCode` a pod that exits with this or more is made again; 1 to 127 fail the job."""

_GRACE_S = 30.0  # of a pod that states none, kubernetes.io "Pod Lifecycle"
_WORKER = "spec.paddleReplicaSpecs.Worker"
_POD_IGNORED = {  # where a pod may run and as whom: nothing that its program could notice here
    "affinity", "automountServiceAccountToken", "enableServiceLinks", "imagePullSecrets", "nodeSelector",
    "priorityClassName", "securityContext", "serviceAccountName", "tolerations", "topologySpreadConstraints",
}  # fmt: skip
_POD_KEYS = {"containers", "volumes", "terminationGracePeriodSeconds"} | _POD_IGNORED
_CONTAINER_KEYS = {
    "args", "command", "env", "image", "imagePullPolicy", "name", "ports", "resources", "securityContext",
    "terminationMessagePath", "volumeMounts", "workingDir",
}  # fmt: skip
_POLICY_KEYS = {"cleanPodPolicy", "ttlSecondsAfterFinished", "schedulingPolicy"}
_MAP_FIELD = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class ReplicaError(UsageError):
    """A manifest asks for something that only a cluster can do. Names every such thing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """One replica.

    Attributes:
        name: `<job>-worker-<index>`.
        command: Program and arguments, references to variables replaced.
        env: Resolved, the operator's variables last.
        working_dir: In the pod, or None for the image's own.
        termination_path: In the pod.
        grace_s: From SIGTERM to SIGKILL.
        gpus: Devices.
    """

    name: str
    index: int
    labels: Mapping[str, str]
    image: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    working_dir: str | None
    mounts: tuple[Mount, ...]
    termination_path: str
    grace_s: float
    gpus: int


def expand(manifest: Manifest, *, pod_ip: str = "127.0.0.1") -> tuple[Pod, ...]:
    """Return the pods of a manifest, by index.

    Args:
        manifest: As rendered.
        pod_ip: What a pod finds as its own address.

    Raises:
        ReplicaError: It asks for what cannot be honoured; names every such part.
    """
    problems = Problems()
    worker = _read_worker(manifest, problems)
    problems.raise_any(ReplicaError)
    template = worker["template"]
    container = template["spec"]["containers"][0]
    mounts = read_mounts(template["spec"], container, manifest.config_map, problems)
    pods = tuple(
        _pod(manifest, worker, index=index, mounts=mounts, pod_ip=pod_ip, problems=problems)
        for index in range(worker.get("replicas", 1))
    )
    problems.raise_any(ReplicaError)
    return pods


def expand_by_name(manifest: Manifest) -> tuple[Pod, ...]:
    """Return the pods of a manifest where a pod finds its own name as its address.

    Raises:
        ReplicaError: As `expand`.
    """
    return tuple(
        expand(manifest, pod_ip=f"{manifest.name}-worker-{pod.index}")[pod.index] for pod in expand(manifest)
    )


def is_retried(exit_code: int) -> bool:
    """Say whether the operator makes a pod again that ended so."""
    return exit_code >= FIRST_RETRIED_EXIT


def find_unmapped(pod: Pod, host_folders: Mapping[str, object]) -> tuple[str, ...]:
    """Return the mounts for which nothing of this machine stands."""
    outside = [mount.path for mount in pod.mounts if mount.source is Source.OUTSIDE]
    return tuple(path for path in outside if path not in host_folders)


def _read_worker(manifest: Manifest, problems: Problems) -> KubeObject:
    spec = manifest.job["spec"]
    require_known(spec, {"runPolicy", "paddleReplicaSpecs"}, at="spec", problems=problems)
    policy = spec.get("runPolicy", {})
    require_known(policy, _POLICY_KEYS, at="spec.runPolicy", problems=problems)
    if policy.get("cleanPodPolicy") not in (None, "None"):
        problems.add("spec.runPolicy.cleanPodPolicy", "None", policy["cleanPodPolicy"])
    specs = spec.get("paddleReplicaSpecs", {})
    if set(specs) != {"Worker"}:
        problems.add("spec.paddleReplicaSpecs", "Worker alone", sorted(specs))
        return {}
    worker: KubeObject = specs["Worker"]
    require_known(worker, {"replicas", "restartPolicy", "template"}, at=_WORKER, problems=problems)
    if worker.get("restartPolicy") != "ExitCode":
        problems.add(f"{_WORKER}.restartPolicy", "ExitCode", worker.get("restartPolicy"))
    if worker.get("replicas", 1) < 1:
        problems.add(f"{_WORKER}.replicas", "at least 1", worker["replicas"])
    template, at = worker.get("template", {}), f"{_WORKER}.template"
    require_known(template, {"metadata", "spec"}, at=at, problems=problems)
    metadata = template.get("metadata", {})
    require_known(metadata, {"labels", "annotations"}, at=f"{at}.metadata", problems=problems)
    pod, at = template.get("spec", {}), f"{at}.spec"
    require_known(pod, _POD_KEYS, at=at, problems=problems)
    names = [container.get("name") for container in pod.get("containers", [])]
    if names != [CONTAINER]:
        problems.add(f"{at}.containers", f"one named {CONTAINER}", names)
        return worker
    container, at = pod["containers"][0], f"{at}.containers[0]"
    require_known(container, _CONTAINER_KEYS, at=at, problems=problems)
    if not container.get("command"):
        problems.add(f"{at}.command", "a command, because the image's own is not known here", None)
    return worker


def _pod(
    manifest: Manifest, worker: KubeObject, *, index: int, mounts: tuple[Mount, ...], pod_ip: str,
    problems: Problems,
) -> Pod:  # fmt: skip
    name = f"{manifest.name}-worker-{index}"
    metadata, spec = worker["template"].get("metadata", {}), worker["template"]["spec"]
    container = spec["containers"][0]
    labels = {
        **metadata.get("labels", {}),
        "training.kubeflow.org/job-name": manifest.name,
        "training.kubeflow.org/operator-name": "paddlejob-controller",
        "training.kubeflow.org/replica-type": "worker",
        "training.kubeflow.org/replica-index": str(index),
    }
    fields = {
        "metadata.name": name,
        "metadata.namespace": manifest.namespace or "default",
        "status.podIP": pod_ip,
    }
    maps = {"labels": labels, "annotations": metadata.get("annotations", {})}
    listed = [*container.get("env", []), *_operator_env(manifest.name, worker, container, index)]
    env = _resolve(listed, fields, maps, problems)
    return Pod(
        name=name,
        index=index,
        labels=labels,
        image=str(container.get("image", "")),
        command=tuple(
            expand_references(str(part), env) for part in (*container["command"], *container.get("args", ()))
        ),
        env=env,
        working_dir=container.get("workingDir"),
        mounts=mounts,
        termination_path=container.get("terminationMessagePath", TERMINATION_PATH),
        grace_s=float(spec.get("terminationGracePeriodSeconds", _GRACE_S)),
        gpus=_count_devices(container),
    )


def _operator_env(job: str, worker: KubeObject, container: KubeObject, index: int) -> list[KubeObject]:
    # envvar.go: appended to every container's own variables, and so winning over them
    ports = {port.get("name"): port["containerPort"] for port in container.get("ports", [])}
    own_ip = {"name": "POD_IP_DUMMY", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    host = "$(POD_IP_DUMMY)" if index == 0 else f"{job}-worker-0"
    return [
        {"name": "PYTHONUNBUFFERED", "value": "1"},
        {"name": "PADDLE_JOB_ID", "value": job},
        {"name": "PADDLE_NNODES", "value": str(worker.get("replicas", 1))},
        *([own_ip] if index == 0 else []),
        {"name": "PADDLE_MASTER", "value": f"{host}:{ports.get('master', STORE_PORT)}"},
    ]


def _resolve(
    listed: Sequence[Mapping[str, Any]], fields: Mapping[str, str],
    maps: Mapping[str, Mapping[str, str]], problems: Problems,
) -> Mapping[str, str]:  # fmt: skip
    env: dict[str, str] = {}
    for item in listed:
        source = item.get("valueFrom")
        if source is None:
            env[item["name"]] = expand_references(str(item.get("value", "")), env)
            continue
        path = str(source["fieldRef"].get("fieldPath")) if set(source) == {"fieldRef"} else ""
        match = _MAP_FIELD.fullmatch(path)
        if match is not None:
            env[item["name"]] = maps[match[1]].get(match[2], "")  # a missing label is an empty variable
        elif path in fields:
            env[item["name"]] = fields[path]
        else:
            wanted = f"a value, or a fieldRef to labels, annotations, {', '.join(fields)}"
            problems.add(f"env {item['name']}", wanted, source)
    return env


def _count_devices(container: KubeObject) -> int:
    limits = (container.get("resources") or {}).get("limits") or {}
    return sum(
        int(count) for name, count in limits.items() if "/" in name
    )  # extended resources have a domain
